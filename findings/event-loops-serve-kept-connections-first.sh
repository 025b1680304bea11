#!/usr/bin/env bash
# A server with one event loop does not serve requests in the order in which they came. While
# one client sends requests that block the loop, one after the other, over a connection that
# it keeps, requests of others that need a new connection are overtaken again and again: they
# wait for about ten blocking runs each, though only one is ever under way. If the client
# takes a new connection for each request, the others wait for one or two. A proxy that
# limits the blocking route to one request at once makes the first case, since it keeps its
# connections.
#
# Seen with Node 20.20.2 (blocking runs of 0.2 s for 6 s, a fast request each 20 ms):
#
#   blocking requests on a kept connection: the median fast request waits for 13.43 runs
#   blocking requests on fresh connections: the median fast request waits for  0.60 runs
#
# uvicorn 0.54.0 with uvloop 0.23.0 does the same: 8.41 and 0.53.
#
# Needs Node and Python. Fails if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
cat >server.js <<'JS'
const server = require('http').createServer((request, response) => {
  if (request.url === '/block') {
    for (const until = Date.now() + 200; Date.now() < until; );
  }
  response.end('done\n');
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
JS
cat >client.py <<'PY'
import http.client
import statistics
import sys
import threading
import time

RUN, LOAD = 0.2, 6.0
port = int(sys.argv[1])


def get(connection: http.client.HTTPConnection, path: str) -> None:
    connection.request("GET", path)
    connection.getresponse().read()


def fresh(path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    get(connection, path)
    connection.close()


def median(kept: bool) -> float:
    end, waits, threads = time.time() + LOAD, [], []

    def block() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while time.time() < end:
            get(connection, "/block") if kept else fresh("/block")

    def fast() -> None:
        began = time.time()
        fresh("/fast")
        waits.append((time.time() - began) / RUN)

    threads.append(threading.Thread(target=block))
    while time.time() < end:
        threads.append(threading.Thread(target=fast))
        for one in threads:
            if one.ident is None:
                one.start()
        time.sleep(0.02)
    for one in threads:
        if one.ident is not None:
            one.join()
    return statistics.median(waits)


kept, new = median(True), median(False)
print(f"blocking requests on a kept connection: the median fast request waits for {kept:.2f} runs")
print(f"blocking requests on fresh connections: the median fast request waits for {new:.2f} runs")
sys.exit(0 if kept > 3 * new else "the order has become fair")
PY
node server.js >port &
server=$!
until [[ -s port ]]; do sleep 0.1; done
python3 client.py "$(cat port)"
