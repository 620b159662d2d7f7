// What the Node programs share: the deployment's address, the runner that
// turns behaviours into lines for TestClients, and waiting.
import assert from 'node:assert/strict';

export const url = process.env.REDIS_URL;
export const key = (name) => `${process.env.PREFIX}:${name}`;
export const everyByte = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
export const megabyte = Buffer.alloc(1 << 20, everyByte);
export const seconds = 60; // the longest that a behaviour may take

export function wrongPasswordUrl() {
  const wrong = new URL(url);
  wrong.password = 'not-the-password';
  return wrong.toString();
}

// until asks again until the answer is true; the behaviour's limit bounds it.
export async function until(question) {
  while (!(await question()));
}

// refused asserts that a command failed with an answer of the server's own.
export async function refused(command, promise) {
  await assert.rejects(promise, /NOPERM|unknown command/, `${command} was not refused`);
}

// run carries out the behaviours named on the command line, in order.
export async function run(behaviours) {
  let failed = false;
  for (const name of process.argv.slice(2)) {
    try {
      assert(behaviours[name], 'this client has no such behaviour');
      await inTime(behaviours[name]());
      console.log(`ok ${name}`);
    } catch (error) {
      failed = true;
      console.log(`FAIL ${name}: ${String(error?.stack ?? error).replaceAll('\n', ' ')}`);
    }
  }
  process.exit(failed ? 1 : 0);
}

function inTime(behaviour) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([behaviour, late]).finally(() => clearTimeout(timer));
}
