#!/usr/bin/env bash
# wget sends a request again after a 504, POST too and up to 20 times, though 503 and all
# other statuses of errors end it at once. With --content-on-error, which is there to show
# the body of an error, it takes a 504 for an answer and sends once. --retry-on-http-error
# adds statuses and takes none away, so the option that looks like one for the output is the
# one that keeps a job from running again.
#
# Seen with GNU Wget 1.21.3 and --tries=3 --post-data=x:
#
#   503: 1
#   504: 3
#   504, --content-on-error: 1
#   504, --retry-on-http-error=503: 3
#
# Needs wget and Python 3. Fails if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
cat >server.py <<'PYTHON'
import http.server


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        with open("sends", "a") as file:
            file.write("x")
        self.send_response(int(self.path[1:]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PYTHON
python3 server.py >port &
server=$!
until [[ -s port ]]; do sleep 0.1; done

# sends STATUS ARGUMENTS... prints how often wget sends a POST that is answered so.
sends() {
	: >sends
	wget --quiet --tries=3 --post-data=x --output-document=/dev/null "${@:2}" "http://127.0.0.1:$(cat port)/$1" || true
	wc -c <sends
}

{
	echo "503: $(sends 503)"
	echo "504: $(sends 504)"
	echo "504, --content-on-error: $(sends 504 --content-on-error)"
	echo "504, --retry-on-http-error=503: $(sends 504 --retry-on-http-error=503)"
} | tee seen
diff seen - <<'EXPECTED'
503: 1
504: 3
504, --content-on-error: 1
504, --retry-on-http-error=503: 3
EXPECTED
