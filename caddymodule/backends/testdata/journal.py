"""What goes on inside a backend: a line when a request begins and one when it ends.

All processes of a backend append to one file, each line with one write, so that the
order of the lines is the order of what happened.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_FILE = os.open(
    os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode=0o644
)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Writes both lines, also if the request is cancelled."""
    os.write(_FILE, f"start {name}\n".encode())
    try:
        yield
    finally:
        os.write(_FILE, f"end {name}\n".encode())
