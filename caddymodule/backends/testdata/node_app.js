// The routes for Node: handlers go on when their clients leave.
const fs = require('fs');
const http = require('http');

const journal = fs.openSync(process.env.JOURNAL, 'a');

http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://backend');
  if (pathname === '/fast') {
    response.end('fast\n');
    return;
  }
  const id = searchParams.get('id');
  fs.writeSync(journal, `start ${id}\n`);
  if (pathname === '/stream') {
    response.write('first\n');
  }
  setTimeout(() => {
    fs.writeSync(journal, `end ${id}\n`);
    response.end(pathname === '/stream' ? 'last\n' : 'done\n');
  }, 1000 * searchParams.get('seconds'));
}).listen(Number(process.argv[2]), '127.0.0.1');
