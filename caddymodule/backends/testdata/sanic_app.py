"""The routes for Sanic, whose handlers are cancelled when their clients leave."""

import asyncio
import sys
import time

from sanic import Request, Sanic
from sanic.response import HTTPResponse, text

from journal import inside

app = Sanic("backend")


@app.route("/fast", methods=["GET", "POST"])
async def fast(_request: Request) -> HTTPResponse:
    """Answers at once."""
    return text("fast\n")


@app.get("/hold")
async def hold(request: Request) -> HTTPResponse:
    """Waits as the query says."""
    with inside(request.args["id"][0]):
        await asyncio.sleep(float(request.args["seconds"][0]))
    return text("done\n")


@app.get("/block")
async def block(request: Request) -> HTTPResponse:
    """Blocks the loop as the query says."""
    with inside(request.args["id"][0]):
        time.sleep(float(request.args["seconds"][0]))  # noqa: ASYNC251
    return text("done\n")


@app.get("/stream")
async def stream(request: Request) -> None:
    """Writes, waits, and writes on."""
    response = await request.respond(content_type="text/plain")
    with inside(request.args["id"][0]):
        await response.send("first\n")
        await asyncio.sleep(float(request.args["seconds"][0]))
    await response.send("last\n")
    await response.eof()


if __name__ == "__main__":
    app.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        single_process=True,
        access_log=False,
        motd=False,
    )
