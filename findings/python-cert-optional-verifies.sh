#!/usr/bin/env bash
# For a client, Python's ssl.CERT_OPTIONAL is as CERT_REQUIRED: it refuses a certificate that
# it cannot verify. So `ssl_cert_reqs=optional` in a URL of redis-py or Celery verifies the
# server, and who translates it to "do not verify" gives the password to anybody who is in
# between.
#
# Seen with Python 3.11.7 and a certificate that signs itself:
#
#   CERT_NONE: connected
#   CERT_OPTIONAL: refused
#   CERT_REQUIRED: refused
#
# Needs Python 3 and openssl. Fails if the behaviour changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 \
	-subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
cat >main.py <<'PYTHON'
import socket
import ssl
import threading

listener = socket.create_server(("127.0.0.1", 0))
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain("cert.pem", "key.pem")


def serve():
    while True:
        conn, _ = listener.accept()
        try:
            server.wrap_socket(conn, server_side=True).close()
        except OSError:
            pass


threading.Thread(target=serve, daemon=True).start()
for mode in (ssl.CERT_NONE, ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED):
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = mode
    client.load_default_certs()
    try:
        client.wrap_socket(socket.create_connection(listener.getsockname()), server_hostname="localhost").close()
        outcome = "connected"
    except ssl.SSLCertVerificationError:
        outcome = "refused"
    print(f"  {mode.name}: {outcome}")
PYTHON
python3 main.py | tee seen
printf '  %s\n' 'CERT_NONE: connected' 'CERT_OPTIONAL: refused' 'CERT_REQUIRED: refused' | diff - seen
