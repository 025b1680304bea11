"""The routes for servers of ASGI: /hold awaits, /block blocks the loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from journal import inside

Message = dict[str, Any]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Goes on when its client leaves, as it never asks."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    while (await receive()).get("more_body"):
        pass
    path, query = scope["path"], parse_qs(scope["query_string"].decode())
    if path != "/fast":
        name, seconds = query["id"][0], float(query["seconds"][0])
        with inside(name):
            if path == "/block":
                time.sleep(seconds)  # noqa: ASYNC251
            else:
                await asyncio.sleep(seconds)
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"done\n"})


async def lifespan(
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Says that there is nothing to prepare."""
    while True:
        kind = (await receive())["type"]
        await send({"type": kind + ".complete"})
        if kind == "lifespan.shutdown":
            return
