"""The routes for Tornado, whose handlers go on when their clients leave."""

import asyncio
import sys
import time

from tornado.web import Application, RequestHandler

from journal import inside


class Fast(RequestHandler):
    """Answers at once."""

    def get(self) -> None:
        """Answers."""
        self.write("fast\n")

    post = get


class Hold(RequestHandler):
    """Waits as the query says."""

    async def get(self) -> None:
        """Waits, and lets others run."""
        with inside(self.get_query_argument("id")):
            await asyncio.sleep(float(self.get_query_argument("seconds")))
        self.write("done\n")


class Block(RequestHandler):
    """Blocks the loop as the query says."""

    async def get(self) -> None:
        """Blocks."""
        with inside(self.get_query_argument("id")):
            time.sleep(float(self.get_query_argument("seconds")))  # noqa: ASYNC251
        self.write("done\n")


async def main() -> None:
    """Serves until it is ended."""
    app = Application([("/fast", Fast), ("/hold", Hold), ("/block", Block)])
    app.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
