"""Tasks of every kind, for tests."""

import datetime
import decimal
import math
import os
import time
import uuid

from celery import Celery
from celery.contrib.abortable import AbortableTask
from celery.exceptions import Ignore, Reject

app = Celery("lab", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(
    worker_prefetch_multiplier=int(os.environ.get("PREFETCH", "4")),
    task_acks_late=bool(os.environ.get("ACKS_LATE")),
    task_track_started=bool(os.environ.get("TRACK_STARTED")),
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "visibility_timeout": 3600,
        "global_keyprefix": os.environ.get("BROKER_PREFIX", ""),
        "master_name": os.environ.get("MASTER_NAME"),
    },
    result_backend_transport_options={
        "global_keyprefix": os.environ.get("RESULT_PREFIX", ""),
        "master_name": os.environ.get("MASTER_NAME"),
    },
    task_queue_max_priority=int(os.environ["MAX_PRIORITY"]) if "MAX_PRIORITY" in os.environ else None,
    control_exchange=os.environ.get("CONTROL_EXCHANGE", "celery"),
    result_serializer=os.environ.get("RESULT_SERIALIZER", "json"),
)


class LabError(Exception):
    """An exception type of the tasks' own."""


@app.task(name="lab.factorial")
def factorial(n=20):
    return math.factorial(n)


@app.task(name="lab.echo")
def echo(*args, **kwargs):
    return {"args": args, "kwargs": kwargs}


@app.task(name="lab.sleep")
def sleep(seconds):
    time.sleep(seconds)
    return seconds


@app.task(name="lab.gather")
def gather(path, size):
    """Ends when as many as the size run at once: the first ones together, then the next."""
    with open(path, "a", encoding="ascii") as trace:
        trace.write("x")
        trace.flush()
        place = trace.tell()
    together = math.ceil(place / size) * size
    patience = time.monotonic() + 60
    while (begun := os.path.getsize(path)) < together:
        if time.monotonic() > patience:
            raise LabError(f"{begun} have begun, not {together}")
        time.sleep(0.01)


@app.task(name="lab.touch")
def touch(path, seconds=0):
    """Leaves a trace of its own that it has run."""
    with open(path, "a", encoding="ascii") as trace:
        trace.write("x")
    time.sleep(seconds)


@app.task(name="lab.progress", bind=True)
def progress(self, total):
    for current in range(1, total + 1):
        self.update_state(state="PROGRESS", meta={"current": current, "total": total})
    return {"done": total}


@app.task(name="lab.steps", bind=True)
def steps(self, total, path):
    """Goes on only when somebody who has seen a step has left a trace of that."""
    for current in range(1, total + 1):
        self.update_state(state="PROGRESS", meta={"current": current})
        while not os.path.exists(path) or os.path.getsize(path) < current:
            time.sleep(0.002)
    return {"done": total}


@app.task(name="lab.abortable", bind=True, base=AbortableTask)
def abortable(self, path):
    """Says that it runs by a trace, and ends when it is told to."""
    with open(path, "a", encoding="ascii") as trace:
        trace.write("x")
    while not self.is_aborted():
        time.sleep(0.01)
    return "aborted"


@app.task(name="lab.fail")
def fail(message="boom"):
    raise ValueError(message, 42)


@app.task(name="lab.fail_custom")
def fail_custom():
    raise LabError("own exception type")


class TwoArgs(Exception):
    """One that cannot be pickled, so that Celery wraps it."""

    def __init__(self, _a, _b):
        super().__init__("only one")


@app.task(name="lab.fail_wrapped")
def fail_wrapped():
    raise TwoArgs(1, 2)


@app.task(name="lab.fail_odd")
def fail_odd():
    raise ValueError(float("nan"), float("inf"), None)


@app.task(name="lab.retry", bind=True, max_retries=2, default_retry_delay=0.1)
def retry(self, times):
    if self.request.retries < times:
        raise self.retry(exc=RuntimeError("once more"))
    return {"retries": self.request.retries}


@app.task(name="lab.ignore", bind=True)
def ignore(self):
    self.update_state(state="HALF_WAY", meta=None)
    raise Ignore()


@app.task(name="lab.forgotten", ignore_result=True)
def forgotten():
    return "nobody will know"


@app.task(name="lab.reject", acks_late=True)
def reject():
    raise Reject("not for me", requeue=False)


@app.task(name="lab.big")
def big(size):
    return "x" * size


@app.task(name="lab.value")
def value(kind):
    return {
        "nan": float("nan"),
        "infinity": [float("inf"), -float("inf")],
        "bigint": 2**200,
        "set": {1},
        "object": object(),
        "bytes": b"\x00\xff raw",
        "types": [
            datetime.datetime(2020, 12, 10, 15, 45),
            datetime.date(2020, 12, 10),
            decimal.Decimal("1.50"),
            uuid.UUID(int=7),
        ],
        "unicode": "\u00e9\U0001f600\u0000\n",
    }[kind]


@app.task(name="lab.exit")
def exit_hard():
    os._exit(3)


@app.task(name="lab.headers", bind=True)
def headers(self):
    given = self.request.headers or vars(self.request)  # the former since 5.3
    return {"traceparent": given.get("traceparent"), "id": self.request.id}


@app.task(name="lab.order")
def order(path, word):
    """Tells in which order tasks have run."""
    with open(path, "a", encoding="ascii") as trace:
        trace.write(word + "\n")
