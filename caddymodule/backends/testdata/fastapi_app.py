"""The routes for FastAPI: functions are below /def, coroutines below /async."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse

from journal import inside

app = FastAPI()


@app.api_route("/def/fast", methods=["GET", "POST"])
@app.api_route("/async/fast", methods=["GET", "POST"])
async def fast() -> PlainTextResponse:
    """Answers at once."""
    return PlainTextResponse("fast\n")


@app.get("/def/hold")
def hold(id: str, seconds: float) -> PlainTextResponse:
    """Blocks one of the forty threads that there are."""
    with inside(id):
        time.sleep(seconds)
    return PlainTextResponse("done\n")


@app.get("/async/hold")
async def hold_async(id: str, seconds: float) -> PlainTextResponse:
    """Goes on when its client leaves, as all coroutines of FastAPI."""
    with inside(id):
        await asyncio.sleep(seconds)
    return PlainTextResponse("done\n")


@app.get("/async/block")
async def block(id: str, seconds: float) -> PlainTextResponse:
    """Blocks the loop."""
    with inside(id):
        time.sleep(seconds)  # noqa: ASYNC251
    return PlainTextResponse("done\n")


@app.get("/def/stream")
def stream(id: str, seconds: float) -> StreamingResponse:
    """Goes on to its next piece when its client leaves."""

    def pieces() -> Iterator[bytes]:
        with inside(id):
            yield b"first\n"
            time.sleep(seconds)
        yield b"last\n"

    return StreamingResponse(pieces())


@app.get("/async/stream")
async def stream_async(id: str, seconds: float) -> StreamingResponse:
    """Is cancelled when its client leaves."""

    async def pieces() -> AsyncIterator[bytes]:
        with inside(id):
            yield b"first\n"
            await asyncio.sleep(seconds)
        yield b"last\n"

    return StreamingResponse(pieces())
