// Holds a connection of a Node library in a state; see ../comeback_test.go.
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const [library, state] = process.argv.slice(2);
const { REDIS_URL: url, KEY: key } = process.env;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (text) => process.stdout.write(text.replaceAll('\n', ' ') + '\n');

const nextLine = async () => (await lines.next()).done && process.exit(0);

async function attempt(work) {
  try {
    await work();
    say('ok');
    return true;
  } catch (e) {
    say(`err ${e.name}: ${e.message}`);
    return false;
  }
}

async function onLines(work) {
  for (;;) {
    await nextLine();
    await attempt(work);
  }
}

async function forEver(work) {
  for (;;) {
    if (!(await attempt(work))) await sleep(100);
  }
}

async function ioredis() {
  const { default: Redis } = await import('ioredis');
  return new Redis(url).on('error', () => {});
}

async function nodeRedis() {
  const { createClient } = await import('redis');
  return createClient({ url }).on('error', () => {}).connect();
}

const ran = (replies) => {
  if (replies === null) throw new Error('the transaction was not run');
};

const states = {
  async 'ioredis command'() {
    const r = await ioredis();
    await onLines(async () => { await r.set(key, 'v'); await r.get(key); });
  },
  async 'ioredis blocked'() {
    const r = await ioredis();
    await forEver(() => r.blpop(key, 0));
  },
  async 'ioredis subscribed'() {
    const r = await ioredis();
    r.on('message', () => say('ok'));
    await r.subscribe(key);
  },
  async 'ioredis transaction'() {
    const r = await ioredis();
    await onLines(async () => {
      await r.watch(key);
      await r.get(key);
      say('watched');
      await nextLine();
      ran(await r.multi().set(key, 'v').exec());
    });
  },
  async 'node-redis command'() {
    const r = await nodeRedis();
    await onLines(async () => { await r.set(key, 'v'); await r.get(key); });
  },
  async 'node-redis blocked'() {
    const r = await nodeRedis();
    await forEver(() => r.blPop(key, 0));
  },
  async 'node-redis subscribed'() {
    const r = await nodeRedis();
    await r.subscribe(key, () => say('ok'));
  },
  async 'node-redis transaction'() {
    const r = await nodeRedis();
    await onLines(async () => {
      await r.watch(key);
      await r.get(key);
      say('watched');
      await nextLine();
      ran(await r.multi().set(key, 'v').exec());
    });
  },
  async 'bullmq worker'() {
    const { Queue, Worker } = await import('bullmq');
    const connection = { url, maxRetriesPerRequest: null };
    new Worker(key, async () => say('ok'), { connection }).on('error', () => {});
    const queue = new Queue(key, { connection }).on('error', () => {});
    for (;;) {
      await nextLine();
      queue.add('work', {}).catch(() => {}); // the worker is asked, not this
    }
  },
};

await states[`${library} ${state}`]();
