"""Three routes for WSGI: one blocks, one writes, blocks and writes on, one is fast."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

from journal import inside

_HEADERS = [("Content-Type", "text/plain")]


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Is told by its query what to do."""
    query = parse_qs(environ["QUERY_STRING"])
    if environ["PATH_INFO"] == "/fast":
        start_response("200 OK", _HEADERS)
        return [b"fast\n"]
    name, seconds = query["id"][0], float(query["seconds"][0])
    if environ["PATH_INFO"] == "/stream":
        start_response("200 OK", _HEADERS)
        return pieces(name, seconds)
    with inside(name):
        time.sleep(seconds)
    start_response("200 OK", _HEADERS)
    return [b"done\n"]


def pieces(name: str, seconds: float) -> Iterator[bytes]:
    """Learns of a client that has left at its next piece only."""
    with inside(name):
        yield b"first\n"
        time.sleep(seconds)
    yield b"last\n"
