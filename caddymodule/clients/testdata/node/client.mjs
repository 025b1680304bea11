// Runs one kind of client of HTTP. It prints one line with the versions, then reads calls
// from standard input, one JSON object a line, and prints for each what its caller sees.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [folder, name] = process.argv.slice(2);
const load = async (file) => import(pathToFileURL(path.join(folder, 'node_modules', file)).href);
const version = (of) => `${of} ${JSON.parse(readFileSync(path.join(folder, 'node_modules', of, 'package.json'))).version}`;
const undici = createRequire(path.join(folder, 'x.js'))('undici');
const { got } = await load('got/dist/source/index.js');
const insecure = { connect: { rejectUnauthorized: false } };

const seen = async (response) => ({
  status: response.status,
  fields: Object.fromEntries(response.headers),
  body: await response.text(),
});

async function fetch({ url, method, fields }, body) {
  const dispatcher = new undici.Agent({ ...insecure, allowH2: url.startsWith('https') });
  try {
    return await seen(await undici.fetch(url, { method, headers: fields, body, dispatcher }));
  } finally {
    await dispatcher.close();
  }
}

async function retryAgent({ url, method, fields }, body) {
  const dispatcher = new undici.RetryAgent(new undici.Agent(insecure));
  try {
    return await seen(await undici.fetch(url, { method, headers: fields, body, dispatcher }));
  } finally {
    await dispatcher.close();
  }
}

async function gotClient({ url, method, fields }, body) {
  try {
    const response = await got(url, { method, headers: fields, body });
    return { status: response.statusCode, fields: response.headers, body: response.body };
  } catch (error) {
    if (!error.response) throw error;
    return { status: error.response.statusCode, fields: error.response.headers, body: error.response.body, error: error.name };
  }
}

const clients = {
  undici: ['undici', fetch],
  'undici-retry': ['undici', retryAgent],
  got: ['got', gotClient],
};

// obedient is the loop of a program whose client has no retries of its own.
async function obedient(client, call, body) {
  for (let tries = 4; ; tries--) {
    const answer = await client(call, body);
    const wait = answer.fields?.['retry-after'];
    if (!wait || tries === 1) return answer;
    await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
  }
}

const [packages, client] = clients[name];
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
print({ versions: version(packages) });
for await (const line of createInterface({ input: process.stdin })) {
  const call = JSON.parse(line);
  const body = call.bytes ? 'x'.repeat(call.bytes) : undefined;
  (call.obey ? obedient(client, call, body) : client(call, body))
    .catch((error) => ({ error: `${error.name}: ${error.message} ${error.cause?.code ?? ''}`.trim() }))
    .then((answer) => print({ id: call.id, ...answer }));
}
