"""An async service that needs results of Celery tasks, and ways to get them.

Celery has no result that can be awaited. Each route under ``/celery/`` is one
way around that; all of them answer with the factorial of ``n``. The others are
for comparison. ``/ping`` is the bystander: it shows what a route does to all
others of the same event loop.
"""

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import aiohttp
from celery.result import AsyncResult
from sanic import Request, Sanic
from sanic.response import HTTPResponse, text

from tasks import factorial

UPSTREAM = os.environ.get("HTTP_UPSTREAM", "127.0.0.1:9012")
SIDECAR = os.environ.get("SIDECAR", "127.0.0.1:8080")

# As many as Python takes on two cores, and as many as the pool of the Caddyfile
# has permits, so that nobody waits where he cannot be seen.
THREADS = 6
PROCESSES = 2

app = Sanic("example")


# --- Celery ---------------------------------------------------------------


async def fetch(result: AsyncResult) -> int:
    """Looks like a coroutine, and blocks the loop all the same."""
    return result.get()


async def in_executor(n: int) -> int:
    """The obvious one: threads share the connection that the loop made."""
    result = factorial.delay(n)
    return await asyncio.get_running_loop().run_in_executor(None, result.get)


async def coroutine(n: int) -> int:
    return await fetch(factorial.delay(n))


async def wait_for_ever(n: int) -> int:
    return await asyncio.wait_for(fetch(factorial.delay(n)), timeout=None)


async def wait_for_two_seconds(n: int) -> int:
    """The limit never fires: the loop is busy with what it should limit."""
    return await asyncio.wait_for(fetch(factorial.delay(n)), timeout=2)


async def task(n: int) -> int:
    return await asyncio.create_task(fetch(factorial.delay(n)))


async def blocking(n: int) -> int:
    return factorial.delay(n).get()


async def whole_call_in_threads(n: int) -> int:
    """The careful one: each thread has a connection of its own."""
    return await asyncio.get_running_loop().run_in_executor(
        None, lambda: factorial.delay(n).get()
    )


async def sidecar(n: int) -> str:
    """Asks the proxy, which waits without a thread; it has the answer as text."""
    url = f"http://{SIDECAR}/offload/tasks/factorial"
    async with app.ctx.session.get(url, params={"n": n}) as response:
        response.raise_for_status()
        return await response.text()


VARIANTS: dict[str, Callable[[int], Coroutine[Any, Any, int | str]]] = {
    "run_in_executor": in_executor,
    "coroutine": coroutine,
    "wait_for": wait_for_ever,
    "wait_for_2": wait_for_two_seconds,
    "create_task": task,
    "blocking": blocking,
    "threads": whole_call_in_threads,
    "sidecar": sidecar,
}


@app.get("/celery/<variant:str>")
async def celery(request: Request, variant: str) -> HTTPResponse:
    call = VARIANTS.get(variant)
    if call is None:
        return text("unknown variant\n", status=404)
    return text(str(await call(int(request.args.get("n", 20)))))


# --- Work without Celery --------------------------------------------------


async def nap() -> str:
    await asyncio.sleep(0.05)
    return "slept\n"


async def ask() -> str:
    async with app.ctx.session.get(f"http://{UPSTREAM}/") as response:
        return await response.text()


def compute() -> str:
    """About ten milliseconds of work that holds the interpreter's lock."""
    return f"{sum(number * number for number in range(150_000))}\n"


@app.get("/sleep/coroutine")
async def sleep_coroutine(_request: Request) -> HTTPResponse:
    return text(await nap())


@app.get("/sleep/task")
async def sleep_task(_request: Request) -> HTTPResponse:
    return text(await asyncio.create_task(nap()))


@app.get("/http/coroutine")
async def http_coroutine(_request: Request) -> HTTPResponse:
    return text(await ask())


@app.get("/http/task")
async def http_task(_request: Request) -> HTTPResponse:
    return text(await asyncio.create_task(ask()))


@app.get("/cpu/loop")
async def cpu_loop(_request: Request) -> HTTPResponse:
    return text(compute())


@app.get("/cpu/threads")
async def cpu_threads(_request: Request) -> HTTPResponse:
    return text(await asyncio.get_running_loop().run_in_executor(None, compute))


@app.get("/cpu/processes")
async def cpu_processes(_request: Request) -> HTTPResponse:
    return text(
        await asyncio.get_running_loop().run_in_executor(app.ctx.processes, compute)
    )


@app.get("/ping")
async def ping(_request: Request) -> HTTPResponse:
    return text("pong\n")


# --- The service ----------------------------------------------------------


@app.exception(Exception)
async def failed(_request: Request, error: Exception) -> HTTPResponse:
    """Tells the client which exception it was."""
    name = type(error).__name__
    return text(
        f"{name}\n",
        status=getattr(error, "status_code", 500),
        headers={"X-Error": name},
    )


@app.before_server_start
async def prepare(_app: Sanic) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    app.ctx.processes = ProcessPoolExecutor(
        PROCESSES, multiprocessing.get_context("spawn")
    )
    app.ctx.session = aiohttp.ClientSession()


@app.after_server_stop
async def clean_up(_app: Sanic) -> None:
    await app.ctx.session.close()
    app.ctx.processes.shutdown(cancel_futures=True)


def main() -> None:
    host, _, port = os.environ.get("SANIC_UPSTREAM", "127.0.0.1:9011").rpartition(":")
    app.run(
        host=host, port=int(port), single_process=True, access_log=False, motd=False
    )


if __name__ == "__main__":
    main()
