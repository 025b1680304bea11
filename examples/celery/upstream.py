"""A slow HTTP service, for the routes of app.py that ask another service."""

import asyncio
import os

from aiohttp import web


async def slow(_request: web.Request) -> web.Response:
    """Answers after a while, without using the processor for it."""
    await asyncio.sleep(0.05)
    return web.Response(text="slow\n")


def main() -> None:
    """Serves until it is told to end."""
    host, _, port = os.environ.get("HTTP_UPSTREAM", "127.0.0.1:9012").rpartition(":")
    app = web.Application()
    app.router.add_get("/", slow)
    web.run_app(app, host=host, port=int(port), print=None, access_log=None)


if __name__ == "__main__":
    main()
