// Does with a Node library what applications do with it; see ../libraries_test.go.
// Ends with 1 if that failed.
import { createServer } from 'node:http';
import process from 'node:process';

const url = process.env.REDIS_URL;
const patience = 30_000;

const within = (promise, what) => Promise.race([promise,
  new Promise((_, fail) => setTimeout(() => fail(new Error(`${what}: not within ${patience} ms`)), patience).unref())]);

const check = (ok, what) => { if (!ok) throw new Error(what); };

async function ioredis(options = {}) {
  const { default: Redis } = await import('ioredis');
  return new Redis(url, { maxRetriesPerRequest: null, ...options });
}

async function nodeRedis() {
  const { createClient } = await import('redis');
  const client = createClient({ url });
  client.on('error', (e) => { console.error(e.message); process.exit(1); });
  return client.connect();
}

async function bullmq(work) {
  const { Queue, QueueEvents, Worker } = await import('bullmq');
  const queue = new Queue('q', { connection: await ioredis() });
  queue.on('error', (e) => { console.error(e.message); process.exit(1); });
  await work({ queue, Worker, QueueEvents });
}

async function bullmqRun(options) {
  await bullmq(async ({ queue, Worker, QueueEvents }) => {
    const events = new QueueEvents('q', { connection: await ioredis() });
    const worker = new Worker('q', async (job) => job.data.n + 1, { connection: await ioredis() });
    for (const part of [events, worker]) part.on('error', (e) => { console.error(e.message); process.exit(1); });
    await within(events.waitUntilReady(), 'ready');
    const job = await within(queue.add('add', { n: 1 }, options), 'add');
    check(await within(job.waitUntilFinished(events), 'finished') === 2, 'a wrong result');
  });
}

async function bull(work) {
  const { default: Queue } = await import('bull');
  const queue = new Queue('q', url);
  queue.on('error', (e) => { console.error(e.message); process.exit(1); });
  await work(queue);
}

async function bullRun(options) {
  await bull(async (queue) => {
    queue.process(async (job) => job.data.n + 1);
    const job = await within(queue.add({ n: 1 }, options), 'add');
    check(await within(job.finished(), 'finished') === 2, 'a wrong result');
  });
}

async function sessions(work) {
  const { RedisStore } = await import('connect-redis');
  const store = new RedisStore({ client: await nodeRedis() });
  const call = (method, ...args) => new Promise((done, fail) => {
    store[method](...args, (e, value) => (e ? fail(e) : done(value)));
  });
  await work(call);
}

const session = { cookie: { maxAge: 60_000 }, user: 'u' };

async function sockets(work) {
  const { Server } = await import('socket.io');
  const { createAdapter } = await import('@socket.io/redis-adapter');
  const servers = [];
  for (let i = 0; i < 2; i++) {
    const adapter = createAdapter(await nodeRedis(), await nodeRedis());
    servers.push(new Server(createServer(), { adapter }));
    servers[i].of('/');
  }
  await work(servers);
}

const features = {
  'bullmq jobs': () => bullmqRun({}),
  'bullmq delayed jobs': () => bullmqRun({ delay: 300 }),
  'bullmq getWorkers': () => bullmq(async ({ queue, Worker }) => {
    const worker = new Worker('q', async () => {}, { connection: await ioredis() });
    worker.on('error', () => {}); // of its own work, which isn't asked about
    await within(worker.waitUntilReady(), 'ready');
    check(Array.isArray(await within(queue.getWorkers(), 'getWorkers')), 'no list');
  }),
  'bull jobs': () => bullRun({}),
  'bull delayed jobs': () => bullRun({ delay: 300 }),
  'bull getWorkers': () => bull(async (queue) => {
    await within(queue.isReady(), 'ready');
    check(Array.isArray(await within(queue.getWorkers(), 'getWorkers')), 'no list');
  }),
  'connect-redis sessions': () => sessions(async (call) => {
    await call('set', 's', session);
    check((await call('get', 's')).user === 'u', 'another session');
    await call('touch', 's', session);
    await call('destroy', 's');
  }),
  'connect-redis all, length, clear': () => sessions(async (call) => {
    await call('set', 's', session);
    check((await call('all')).length === 1, 'all');
    check(await call('length') === 1, 'length');
    await call('clear');
    check(await call('length') === 0, 'clear');
  }),
  'redlock lock': async () => {
    const { default: Redlock } = await import('redlock');
    const lock = await within(new Redlock([await ioredis()], { retryCount: 1 }).lock('l', 5000), 'lock');
    await within(lock.extend(5000), 'extend');
    await within(lock.unlock(), 'unlock');
  },
  'rate-limiter-flexible limit': async () => {
    const { RateLimiterRedis } = await import('rate-limiter-flexible');
    const limiter = new RateLimiterRedis({ storeClient: await ioredis(), points: 2, duration: 60 });
    check((await within(limiter.consume('u'), 'consume')).remainingPoints === 1, 'a wrong count');
  },
  'keyv cache': async () => {
    const { default: Keyv } = await import('keyv');
    const { default: KeyvRedis } = await import('@keyv/redis');
    const cache = new Keyv({ store: new KeyvRedis(url), namespace: 'n', throwOnErrors: true });
    await within(cache.set('k', 'v', 60_000), 'set');
    check(await cache.get('k') === 'v', 'get');
    check((await cache.getMany(['k', 'none']))[0] === 'v', 'getMany');
    check(await cache.delete('k'), 'delete');
  },
  'keyv clear': async () => {
    const { default: Keyv } = await import('keyv');
    const { default: KeyvRedis } = await import('@keyv/redis');
    const cache = new Keyv({ store: new KeyvRedis(url), namespace: 'n', throwOnErrors: true });
    await within(cache.set('k', 'v', 60_000), 'set');
    await within(cache.clear(), 'clear');
    check(await cache.get('k') === undefined, 'it is still there');
  },
  'socket.io messages': () => sockets(async ([one, other]) => {
    const got = new Promise((done) => { other.on('hello', done); });
    // The adapter doesn't say when it has subscribed.
    const again = setInterval(() => one.serverSideEmit('hello', 'you'), 200);
    check(await within(got, 'the message') === 'you', 'another message');
    clearInterval(again);
  }),
  'socket.io fetchSockets': () => sockets(async ([one]) => {
    check((await within(one.fetchSockets(), 'fetchSockets')).length === 0, 'sockets that nobody opened');
  }),
  'ioredis cache': async () => {
    const redis = await ioredis({ maxRetriesPerRequest: 1 });
    redis.on('error', (e) => { console.error(e.message); process.exit(1); });
    await within(redis.set('k', 'v', 'EX', 60), 'set');
    check(await redis.get('k') === 'v', 'get');
    await redis.del('k');
  },
  'node-redis cache': async () => {
    const redis = await nodeRedis();
    await redis.set('k', 'v', { EX: 60 });
    check(await redis.get('k') === 'v', 'get');
    await redis.del('k');
  },
};

process.on('unhandledRejection', (e) => { console.error(String(e?.message ?? e)); process.exit(1); });
try {
  await within(features[process.argv[2]](), 'all of it');
  process.exit(0);
} catch (e) {
  console.error(String(e?.message ?? e));
  process.exit(1);
}
