// ioredis, as an application uses it. LIBRARY chooses the version (a package
// name of package.json), PROTOCOL the RESP version where the library has one.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { everyByte, key, megabyte, refused, run, until, url, wrongPasswordUrl } from './behaviours.mjs';

const { Redis } = await import(process.env.LIBRARY);
const options = process.env.PROTOCOL ? { protocol: Number(process.env.PROTOCOL) } : {};
const connect = () => new Redis(url, options);

const redis = connect();
const other = connect(); // another part of the application

// roundTrip sets a value and reads it back, byte for byte.
async function roundTrip(name, value) {
  assert.equal(await redis.set(key(name), value), 'OK');
  assert.deepEqual(await redis.getBuffer(key(name)), value);
}

await run({
  'set-get': async () => {
    assert.equal(await redis.set(key('plain'), 'value'), 'OK');
    assert.equal(await redis.get(key('plain')), 'value');
    assert.equal(await redis.get(key('absent')), null);
  },

  'binary-value': () => roundTrip('binary', everyByte),
  'large-value': () => roundTrip('large', megabyte),

  'expire': async () => {
    await redis.set(key('mortal'), 'value');
    assert.equal(await redis.ttl(key('mortal')), -1);
    assert.equal(await redis.expire(key('mortal'), 100), 1);
    const left = await redis.ttl(key('mortal'));
    assert(left > 90 && left <= 100, `TTL ${left}`);
    await redis.pexpire(key('mortal'), 10);
    await until(async () => (await redis.get(key('mortal'))) === null);
  },

  'pipeline': async () => {
    const pipeline = redis.pipeline();
    for (let i = 0; i < 100; i++) pipeline.incr(key('counter'));
    const replies = await pipeline.exec();
    assert.deepEqual(replies, Array.from({ length: 100 }, (_, i) => [null, i + 1]));
  },

  'transaction': async () => {
    const replies = await redis.multi().set(key('tx'), 41).incr(key('tx')).get(key('tx')).exec();
    assert.deepEqual(replies, [[null, 'OK'], [null, 42], [null, '42']]);
  },

  'watch-abort': async () => {
    await redis.set(key('watched'), 'mine');
    await redis.watch(key('watched'));
    await other.set(key('watched'), 'theirs');
    assert.equal(await redis.multi().set(key('watched'), 'lost').exec(), null);
    assert.equal(await redis.get(key('watched')), 'theirs');
  },

  'pubsub': async () => {
    const subscriber = connect();
    assert.equal(await subscriber.subscribe(key('news')), 1);
    const heard = once(subscriber, 'message');
    assert.equal(await redis.publish(key('news'), 'hello'), 1);
    assert.deepEqual(await heard, [key('news'), 'hello']);
    assert.equal(await subscriber.unsubscribe(key('news')), 0);
    assert.equal(await subscriber.ping(), 'PONG');
    await subscriber.quit();
  },

  'blpop-woken': async () => {
    const worker = connect();
    const job = worker.blpop(key('queue'), 15);
    await until(async () => (await redis.info('clients')).includes('blocked_clients:1'));
    await redis.rpush(key('queue'), 'job');
    assert.deepEqual(await job, [key('queue'), 'job']);
    await worker.quit();
  },

  'blpop-timeout': async () => {
    assert.equal(await redis.blpop(key('empty'), 0.1), null);
    assert.equal(await redis.ping(), 'PONG');
  },

  'hash': async () => {
    assert.equal(await redis.hset(key('hash'), { name: 'n', count: 1 }), 2);
    assert.equal(await redis.hincrby(key('hash'), 'count', 2), 3);
    assert.deepEqual({ ...(await redis.hgetall(key('hash'))) }, { name: 'n', count: '3' });
  },

  'zset': async () => {
    assert.equal(await redis.zadd(key('zset'), 1, 'a', 2.5, 'b'), 2);
    const scored = await redis.zrange(key('zset'), 0, -1, 'WITHSCORES');
    assert.deepEqual(scored.flat().map(String), ['a', '1', 'b', '2.5']);
    assert.equal(await redis.zrank(key('zset'), 'b'), 1);
  },

  'scan': async () => {
    const names = Array.from({ length: 200 }, (_, i) => key(`scan:${i}`));
    await redis.mset(Object.fromEntries(names.map((name) => [name, 'v'])));
    const found = new Set();
    for await (const page of redis.scanStream({ match: key('scan:*'), count: 50 })) {
      for (const name of page) found.add(name);
    }
    assert.deepEqual([...found].sort(), names.sort());
  },

  'wrong-password': async () => {
    const intruder = new Redis(wrongPasswordUrl(), { ...options, retryStrategy: null });
    const [error] = await once(intruder, 'error');
    assert.match(error.message, /WRONGPASS/);
    intruder.disconnect();
  },

  'refused-command': async () => {
    const id = await redis.client('ID');
    await refused('CONFIG SET', redis.config('SET', 'maxmemory', '1'));
    await refused('FLUSHALL', redis.flushall());
    assert.equal(await redis.client('ID'), id, 'another connection');
    await roundTrip('after refusal', everyByte);
  },

  'reconnect': async () => {
    await redis.set(key('kept'), 'value');
    const ready = once(redis, 'ready');
    redis.disconnect(true);
    await ready;
    assert.equal(await redis.get(key('kept')), 'value');
  },
});
