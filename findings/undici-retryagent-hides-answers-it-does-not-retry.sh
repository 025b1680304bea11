#!/usr/bin/env bash
# undici's RetryAgent does not retry a POST, but it does not pass its answer on either: a 503,
# 429 or 504 to a POST, sent once, rejects with "Request failed" (UND_ERR_REQ_RETRY), or
# "fetch failed" from fetch, so code that looks at the status and at Retry-After never sees
# them. A 400 to the same POST, and with `throwOnError: false` a 503 too, are answers.
# A program that turns the agent on for its GET requests changes what its POST requests see.
#
# Seen with undici 7.30.2 and Node 20.20.2:
#
#   POST, 400: answer 400, 1 send
#   POST, 503: UND_ERR_REQ_RETRY, 1 send
#   POST, 503, throwOnError false: answer 503, 1 send
#
# Needs Node 20.18 or later, and npm. Fails if the behaviour changes.
set -euo pipefail

version=7.30.2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-package-lock "undici@$version"
cat >main.mjs <<'JS'
import { createServer } from 'node:http';
import { Agent, RetryAgent, fetch } from 'undici';

let sends = 0;
const server = createServer((request, response) => {
  sends++;
  response.writeHead(Number(request.url.slice(1)), { 'Retry-After': '1' }).end('an answer\n');
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

async function post(title, status, options) {
  sends = 0;
  const dispatcher = new RetryAgent(new Agent(), options);
  let seen;
  try {
    const response = await fetch(`http://127.0.0.1:${server.address().port}/${status}`, { method: 'POST', body: 'x', dispatcher });
    seen = `answer ${response.status}`;
    await response.text();
  } catch (error) {
    seen = error.cause.code;
  }
  console.log(`${title}: ${seen}, ${sends} send`);
  await dispatcher.close();
}

await post('POST, 400', 400);
await post('POST, 503', 503);
await post('POST, 503, throwOnError false', 503, { throwOnError: false });
server.close();
JS
node main.mjs | tee seen
diff seen - <<'EXPECTED'
POST, 400: answer 400, 1 send
POST, 503: UND_ERR_REQ_RETRY, 1 send
POST, 503, throwOnError false: answer 503, 1 send
EXPECTED
