#!/usr/bin/env bash
# A Celery worker stores an exception whose class takes other arguments than it hands to
# Exception.__init__ as UnpickleableExceptionWrapper, although its result serializer is
# JSON and nothing is pickled on the way. Type, module and arguments of what was raised are
# the elements of exc_message; who goes by exc_type never sees such a class. Celery's own
# client raises the wrapper as well.
#
# Seen with Celery 5.7.0 and 5.6.3, worker with result_serializer json (5.2.6 stores TwoArgs):
#
#   plain      -> LookupError ["no such thing"]
#   two args   -> UnpickleableExceptionWrapper ["__main__", "TwoArgs", ["only one"], "TwoArgs('only one')"]
#
# Needs Python 3 with venv, and pip. Fails if the behaviour changes.
set -euo pipefail

version=5.7.0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check "celery==$version"
cat >main.py <<'PYTHON'
import json

from celery import Celery
from celery.contrib.testing.worker import start_worker

app = Celery("main", broker="memory://", backend="cache+memory://")
app.conf.result_serializer = "json"


class TwoArgs(Exception):
    def __init__(self, a, b):
        super().__init__("only one")


@app.task(name="plain")
def plain():
    raise LookupError("no such thing")


@app.task(name="two args")
def two_args():
    raise TwoArgs(1, 2)


with start_worker(app, pool="solo", perform_ping_check=False, loglevel="critical"):
    for task in (plain, two_args):
        result = task.delay()
        try:
            result.get(timeout=20)
        except Exception:
            pass
        stored = json.loads(app.backend.get(app.backend.get_key_for_task(result.id)))["result"]
        print(f"  {task.name:10} -> {stored['exc_type']} {json.dumps(stored['exc_message'])}")
PYTHON
python/bin/python main.py 2>/dev/null | tee seen
grep -qF 'plain      -> LookupError' seen && grep -qF 'two args   -> UnpickleableExceptionWrapper' seen
