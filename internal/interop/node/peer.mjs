// What the servers in this folder have in common. Such a program is started
// with its settings as JSON in the variable PEER, prints one line of JSON when
// it is ready, and then answers each line of JSON on its standard input with
// one on its standard output. It ends with its input, so that none outlives the
// test that started it.
import { createServer } from 'node:http';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export const settings = JSON.parse(process.env.PEER ?? '{}');

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

// listen starts a server on settings.port, or a free port, of the loopback
// address. makeHandler is given the server's URL.
export async function listen(makeHandler) {
  let handler;
  const server = createServer((req, res) => handler(req, res));
  server.listen(settings.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  const url = `http://127.0.0.1:${port}`;
  handler = await makeHandler(url);
  return { url, port };
}

// answer tells that the program is ready and answers commands until the input
// ends. Each is an array of a name in commands and arguments.
export async function answer(ready, commands) {
  say(ready);
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      const [name, ...args] = JSON.parse(line);
      say({ result: (await commands[name](...args)) ?? null });
    } catch (err) {
      say({ error: String(err?.stack ?? err) });
    }
  }
  process.exit(0);
}
