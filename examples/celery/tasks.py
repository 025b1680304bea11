"""Tasks of the example and the Celery application that they belong to.

Started with ``celery --app tasks worker``.
"""

import math
import os
import time
from typing import Any

from celery import Celery, Task

app = Celery(
    "tasks",
    broker=os.environ.get("CELERY_BROKER", "amqp://guest:guest@127.0.0.1:5672//"),
    backend=os.environ.get("CELERY_BACKEND", "redis://127.0.0.1:6379/0"),
)
app.conf.update(
    # A prefetched task waits for its worker while another one is idle.
    worker_prefetch_multiplier=1,
    # The default from Celery 6 on, which warns until then.
    broker_connection_retry_on_startup=True,
)


class OutOfStockError(Exception):
    """An error of the application's own, for the table of the proxy."""


@app.task
def factorial(n: int = 20) -> int:
    """Something quick."""
    return math.factorial(n)


@app.task
def sleep(seconds: float = 0.2) -> float:
    """Something slow that needs no processor."""
    time.sleep(seconds)
    return seconds


@app.task(bind=True)
def steps(self: Task, total: int = 5, pause: float = 0.2) -> str:
    """Something that tells how far it is."""
    for current in range(total):
        self.update_state(state="PROGRESS", meta={"current": current, "total": total})
        time.sleep(pause)
    return f"{total} steps"


@app.task
def fail(kind: str = "value") -> None:
    """Something that goes wrong, in one of several ways."""
    if kind == "value":
        raise ValueError("not a number of tea cups")
    if kind == "key":
        raise KeyError("cup")
    if kind == "stock":
        raise OutOfStockError("no tea left")
    raise RuntimeError(kind)


@app.task
def page(name: str = "world") -> dict[str, Any]:
    """A whole answer: status, headers and body."""
    return {
        "status": 201,
        "headers": {"Content-Type": "text/html; charset=utf-8", "X-Made-By": "a task"},
        "body": f"<h1>Hello, {name}</h1>\n",
    }


@app.task
def text(lines: int = 3) -> str:
    """A string, which the proxy can hand on as it is."""
    return "".join(f"line {number}\n" for number in range(1, lines + 1))


@app.task
def octets(count: int = 256) -> bytes:
    """Bytes, which JSON has no form for: Celery wraps them, the proxy unwraps."""
    return bytes(number % 256 for number in range(count))
