"""Runs one kind of client of HTTP or gRPC.

It prints one line with the versions, then reads calls from standard input, one JSON
object a line, makes each in a thread of its own with a client of its own, and prints
for each what its caller sees.
"""

import asyncio
import importlib.metadata
import json
import platform
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import grpc
import httpx
import requests
import urllib3
from requests.adapters import HTTPAdapter

PATIENCE = 60.0
CHUNK = 64 << 10
POLICY = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

Seen = dict[str, Any]
Call = dict[str, Any]


def seen(status: int, fields: Mapping[str, str], body: str) -> Seen:
    return {
        "status": status,
        "fields": {k.lower(): v for k, v in dict(fields).items()},
        "body": body,
    }


def python_urllib(call: Call, body: bytes | None) -> Seen:
    request = urllib.request.Request(
        call["url"], body, call["fields"], method=call["method"]
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return seen(response.status, response.headers, response.read().decode())
    except urllib.error.HTTPError as response:
        return seen(response.code, response.headers, response.read().decode())


def urllib3_default(call: Call, body: bytes | None) -> Seen:
    response = urllib3.PoolManager().request(
        call["method"], call["url"], body=body, headers=call["fields"]
    )
    return seen(response.status, response.headers, response.data.decode())


def requests_retry(call: Call, body: bytes | None) -> Seen:
    retry = urllib3.Retry(
        total=3, backoff_factor=0.5, status_forcelist=[429, 502, 503, 504]
    )
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=retry))
        response = session.request(
            call["method"],
            call["url"],
            data=body,
            headers=call["fields"],
            timeout=PATIENCE,
        )
        return seen(response.status_code, response.headers, response.text)


def httpx_sync(call: Call, body: bytes | None) -> Seen:
    with httpx.Client(
        http2=call["url"].startswith("https"), verify=False, timeout=PATIENCE
    ) as client:
        response = client.request(
            call["method"], call["url"], content=body, headers=call["fields"]
        )
        return seen(response.status_code, response.headers, response.text)


async def async_httpx(call: Call, body: bytes | None) -> Seen:
    async with httpx.AsyncClient(
        http2=call["url"].startswith("https"), verify=False, timeout=PATIENCE
    ) as client:
        response = await client.request(
            call["method"], call["url"], content=body, headers=call["fields"]
        )
        return seen(response.status_code, response.headers, response.text)


async def async_aiohttp(call: Call, body: bytes | None) -> Seen:
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            call["method"], call["url"], data=body, headers=call["fields"]
        ) as response,
    ):
        return seen(response.status, response.headers, await response.text())


def httpx_async(call: Call, body: bytes | None) -> Seen:
    return asyncio.run(async_httpx(call, body))


def aiohttp_client(call: Call, body: bytes | None) -> Seen:
    return asyncio.run(async_aiohttp(call, body))


def grpcio(call: Call, body: bytes | None) -> Seen:
    """Sends one message, or a stream of them if they are large.

    Streams are too large to be kept for another try. They go without the policy of
    retries, with which version 1.85.3 sometimes ends the process.
    """
    where = urlsplit(call["url"])
    metadata = [(name.lower(), value) for name, value in call["fields"].items()]
    large = body is not None and len(body) > CHUNK
    options = [
        ("grpc.enable_retries", 0)
        if large
        else ("grpc.service_config", json.dumps(POLICY))
    ]
    with grpc.insecure_channel(where.netloc, options=options) as channel:
        try:
            if large:
                pieces = (body[at : at + CHUNK] for at in range(0, len(body), CHUNK))
                channel.stream_unary(where.path)(
                    pieces, timeout=PATIENCE, metadata=metadata
                )
            else:
                channel.unary_unary(where.path)(
                    body or b"", timeout=PATIENCE, metadata=metadata
                )
        except grpc.RpcError as error:
            fields = {
                **dict(error.initial_metadata() or ()),
                **dict(error.trailing_metadata() or ()),
            }
            return seen(error.code().value[0], fields, error.details())
        return seen(0, {}, "")


CLIENTS: dict[str, tuple[str, Callable[[Call, bytes | None], Seen]]] = {
    "urllib": ("", python_urllib),
    "urllib3": ("urllib3", urllib3_default),
    "requests": ("requests urllib3", requests_retry),
    "httpx": ("httpx", httpx_sync),
    "httpx-async": ("httpx", httpx_async),
    "aiohttp": ("aiohttp", aiohttp_client),
    "grpcio": ("grpcio", grpcio),
}


def obedient(
    client: Callable[[Call, bytes | None], Seen], call: Call, body: bytes | None
) -> Seen:
    """Is the loop of a program whose client has no retries of its own."""
    for _ in range(4):
        answer = client(call, body)
        wait = answer["fields"].get("retry-after")
        if wait is None:
            break
        time.sleep(int(wait))
    return answer


def serve(
    client: Callable[[Call, bytes | None], Seen], call: Call, lock: threading.Lock
) -> None:
    body = b"x" * call["bytes"] if call["bytes"] else None
    try:
        answer = obedient(client, call, body) if call["obey"] else client(call, body)
    except Exception as error:
        answer = {"error": type(error).__name__, "detail": str(error)}
    with lock:
        print(json.dumps({"id": call["id"], **answer}), flush=True)


def main() -> None:
    packages, client = CLIENTS[sys.argv[1]]
    versions = [
        f"{name} {importlib.metadata.version(name)}" for name in packages.split()
    ]
    print(
        json.dumps(
            {"versions": ", ".join(versions) or f"Python {platform.python_version()}"}
        ),
        flush=True,
    )
    lock = threading.Lock()
    for line in sys.stdin:
        threading.Thread(
            target=serve, args=(client, json.loads(line), lock), daemon=True
        ).start()


if __name__ == "__main__":
    main()
