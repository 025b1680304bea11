#!/usr/bin/env bash
# `curl --retry 3 -o /dev/null` does not retry a 503 that has a body. Before each retry curl
# cuts the file of -o back to its length before the try, which a device refuses, so it ends
# with exit code 23 instead. To a file or to a pipe, and after a 503 without a body, the same
# command retries. A health check or a load script that throws the body away has no retries,
# whatever it asks for.
#
# Seen with curl 7.88.1 (a server that answers 503 twice, then 200):
#
#   -o /dev/null, 503 with a body:    1 sends, exit 23
#   -o /dev/null, 503 without a body: 3 sends, exit 0
#   -o file, 503 with a body:         3 sends, exit 0
#   > /dev/null, 503 with a body:     3 sends, exit 0
#
# Needs curl and Python 3. Fails if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
cat >server.py <<'PYTHON'
import http.server
from collections import Counter


class Handler(http.server.BaseHTTPRequestHandler):
    sends = Counter()

    def do_GET(self):
        name = self.path.split("/")[1]
        if name == "count":
            self.answer(200, str(self.sends[self.path.split("/")[2]]).encode())
            return
        self.sends[name] += 1
        body = b"" if name.startswith("empty") else b"Service Unavailable\n"
        self.answer(200 if self.sends[name] > 2 else 503, body)

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PYTHON
python3 server.py >port &
server=$!
until [[ -s port ]]; do sleep 0.1; done
url=http://127.0.0.1:$(cat port)

# try NAME FILE prints how often curl sent, and its exit code. FILE - is its standard output.
try() {
	local code=0 output=(-o "$2")
	if [[ $2 == - ]]; then
		output=()
	fi
	curl --silent --retry 3 "${output[@]}" "$url/$1" >/dev/null || code=$?
	printf '%s sends, exit %d\n' "$(curl --silent "$url/count/$1")" "$code"
}

{
	printf -- '-o /dev/null, 503 with a body:    %s\n' "$(try full /dev/null)"
	printf -- '-o /dev/null, 503 without a body: %s\n' "$(try empty /dev/null)"
	printf -- '-o file, 503 with a body:         %s\n' "$(try file body)"
	printf -- '> /dev/null, 503 with a body:     %s\n' "$(try stdout -)"
} | tee seen
diff seen - <<'EXPECTED'
-o /dev/null, 503 with a body:    1 sends, exit 23
-o /dev/null, 503 without a body: 3 sends, exit 0
-o file, 503 with a body:         3 sends, exit 0
> /dev/null, 503 with a body:     3 sends, exit 0
EXPECTED
