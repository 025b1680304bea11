"""The routes for aiohttp.web: handlers go on when clients leave, but with "cancel"."""

import asyncio
import sys
import time

from aiohttp import web

from journal import inside


async def fast(_request: web.Request) -> web.Response:
    """Answers at once."""
    return web.Response(text="fast\n")


async def hold(request: web.Request) -> web.Response:
    """Waits as the query says."""
    with inside(request.query["id"]):
        await asyncio.sleep(float(request.query["seconds"]))
    return web.Response(text="done\n")


async def block(request: web.Request) -> web.Response:
    """Blocks the loop as the query says."""
    with inside(request.query["id"]):
        time.sleep(float(request.query["seconds"]))  # noqa: ASYNC251
    return web.Response(text="done\n")


async def stream(request: web.Request) -> web.StreamResponse:
    """Writes, waits, and writes on."""
    response = web.StreamResponse()
    await response.prepare(request)
    with inside(request.query["id"]):
        await response.write(b"first\n")
        await asyncio.sleep(float(request.query["seconds"]))
    await response.write(b"last\n")
    return response


if __name__ == "__main__":
    app = web.Application()
    app.add_routes(
        [
            web.get("/fast", fast),
            web.post("/fast", fast),
            web.get("/hold", hold),
            web.get("/block", block),
            web.get("/stream", stream),
        ]
    )
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        print=None,
        access_log=None,
        handler_cancellation="cancel" in sys.argv,
    )
