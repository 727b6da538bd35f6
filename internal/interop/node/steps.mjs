// What the clients in this folder have in common. Such a program is started
// with its settings as JSON in the variable PEER and does one step after the
// other. Of each it prints a line of JSON: its name, how long it took, and
// its error if there is one.
import { strict as assert } from 'node:assert';

export { assert };

export const settings = JSON.parse(process.env.PEER);

// signal bounds one request.
export const signal = () => AbortSignal.timeout(30_000);

// step does one thing and returns what comes of it, or undefined if it fails.
export async function step(name, f) {
  let late;
  const began = Date.now();
  const ms = () => Date.now() - began;
  try {
    const result = await Promise.race([
      f(),
      new Promise((_, reject) => { late = setTimeout(() => reject(new Error('took over a minute')), 60_000); }),
    ]);
    say({ step: name, ms: ms() });
    return result;
  } catch (err) {
    const cause = err?.cause === undefined ? '' : `\ncause: ${describe(err.cause)}`;
    say({ step: name, ms: ms(), error: `${err?.stack ?? err}${cause}` });
    return undefined;
  } finally {
    clearTimeout(late);
  }
}

// refused does something that must be refused, and returns the error.
export async function refused(f) {
  let result;
  try {
    result = await f();
  } catch (err) {
    return err;
  }
  throw new Error(`was not refused: ${describe(result)}`);
}

function describe(value) {
  try {
    return value instanceof Error ? String(value.stack) : JSON.stringify(value);
  } catch {
    return String(value);
  }
}

function say(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

// rotate makes the server sign with a new key and publish both, without the
// old one if drop is true.
export async function rotate(drop = false) {
  const response = await fetch(`${settings.issuer}/rotate${drop ? '?drop' : ''}`, { method: 'POST', signal: signal() });
  assert.equal(response.status, 204);
}
