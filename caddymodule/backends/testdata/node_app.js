// The routes for Node, and for Express if its name is given: handlers go on when their
// clients leave.
const fs = require('fs');
const http = require('http');

const journal = fs.openSync(process.env.JOURNAL, 'a');

function answer(request, response) {
  const { pathname, searchParams } = new URL(request.url, 'http://backend');
  if (pathname === '/fast') {
    response.end('fast\n');
    return;
  }
  const id = searchParams.get('id');
  fs.writeSync(journal, `start ${id}\n`);
  if (pathname === '/block') {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000 * searchParams.get('seconds'));
    fs.writeSync(journal, `end ${id}\n`);
    response.end('done\n');
    return;
  }
  if (pathname === '/stream') {
    response.write('first\n');
  }
  setTimeout(() => {
    fs.writeSync(journal, `end ${id}\n`);
    response.end(pathname === '/stream' ? 'last\n' : 'done\n');
  }, 1000 * searchParams.get('seconds'));
}

const [port, framework] = process.argv.slice(2);
const server = framework === 'express' ? require('express')().use(answer) : http.createServer(answer);
server.listen(Number(port), '127.0.0.1');
