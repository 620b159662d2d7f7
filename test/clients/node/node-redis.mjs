// node-redis, as an application uses it. PROTOCOL chooses the RESP version.
import assert from 'node:assert/strict';
import { createClient, RESP_TYPES, WatchError } from 'redis';
import { everyByte, key, megabyte, refused, run, until, url, wrongPasswordUrl } from './behaviours.mjs';

const options = { url, RESP: Number(process.env.PROTOCOL) };

async function connect() {
  const client = createClient(options);
  client.on('error', () => {}); // without a listener it would end the process; commands report what matters
  return client.connect();
}

const redis = await connect();
const other = await connect(); // another part of the application
const buffers = redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });

// roundTrip sets a value and reads it back, byte for byte.
async function roundTrip(name, value) {
  assert.equal(await redis.set(key(name), value), 'OK');
  assert.deepEqual(await buffers.get(key(name)), value);
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
    assert.equal(Number(await redis.expire(key('mortal'), 100)), 1);
    const left = await redis.ttl(key('mortal'));
    assert(left > 90 && left <= 100, `TTL ${left}`);
    await redis.pExpire(key('mortal'), 10);
    await until(async () => (await redis.get(key('mortal'))) === null);
  },

  'pipeline': async () => { // commands of one turn of the event loop go out together
    const replies = await Promise.all(Array.from({ length: 100 }, () => redis.incr(key('counter'))));
    assert.deepEqual(replies, Array.from({ length: 100 }, (_, i) => i + 1));
  },

  'transaction': async () => {
    const replies = await redis.multi().set(key('tx'), '41').incr(key('tx')).get(key('tx')).exec();
    assert.deepEqual(replies, ['OK', 42, '42']);
  },

  'watch-abort': async () => {
    await redis.set(key('watched'), 'mine');
    await redis.watch(key('watched'));
    await other.set(key('watched'), 'theirs');
    await assert.rejects(redis.multi().set(key('watched'), 'lost').exec(), WatchError);
    assert.equal(await redis.get(key('watched')), 'theirs');
  },

  'pubsub': async () => {
    const subscriber = await connect();
    let hear;
    const heard = new Promise((resolve) => { hear = resolve; });
    await subscriber.subscribe(key('news'), (message, channel) => hear([channel, message]));
    assert.equal(await redis.publish(key('news'), 'hello'), 1);
    assert.deepEqual(await heard, [key('news'), 'hello']);
    await subscriber.unsubscribe(key('news'));
    assert.equal(String(await subscriber.ping()), 'PONG'); // RESP2 gives a buffer here
    await subscriber.close();
  },

  'blpop-woken': async () => {
    const worker = await connect();
    const job = worker.blPop(key('queue'), 15);
    await until(async () => (await redis.info('clients')).includes('blocked_clients:1'));
    await redis.rPush(key('queue'), 'job');
    assert.deepEqual({ ...(await job) }, { key: key('queue'), element: 'job' });
    await worker.close();
  },

  'blpop-timeout': async () => {
    assert.equal(await redis.blPop(key('empty'), 0.1), null);
    assert.equal(await redis.ping(), 'PONG');
  },

  'hash': async () => {
    assert.equal(await redis.hSet(key('hash'), { name: 'n', count: '1' }), 2);
    assert.equal(await redis.hIncrBy(key('hash'), 'count', 2), 3);
    assert.deepEqual({ ...(await redis.hGetAll(key('hash'))) }, { name: 'n', count: '3' });
  },

  'zset': async () => {
    assert.equal(await redis.zAdd(key('zset'), [{ score: 1, value: 'a' }, { score: 2.5, value: 'b' }]), 2);
    const scored = await redis.zRangeWithScores(key('zset'), 0, -1);
    assert.deepEqual(scored.map(({ score, value }) => [value, score]), [['a', 1], ['b', 2.5]]);
    assert.equal(await redis.zRank(key('zset'), 'b'), 1);
  },

  'scan': async () => {
    const names = Array.from({ length: 200 }, (_, i) => key(`scan:${i}`));
    await redis.mSet(Object.fromEntries(names.map((name) => [name, 'v'])));
    const found = new Set();
    for await (const page of redis.scanIterator({ MATCH: key('scan:*'), COUNT: 50 })) {
      for (const name of page) found.add(name);
    }
    assert.deepEqual([...found].sort(), names.sort());
  },

  'wrong-password': async () => {
    const intruder = createClient({ ...options, url: wrongPasswordUrl(), socket: { reconnectStrategy: false } });
    intruder.on('error', () => {});
    await assert.rejects(intruder.connect(), /WRONGPASS/);
  },

  'refused-command': async () => {
    const id = await redis.clientId();
    await refused('CONFIG SET', redis.configSet('maxmemory', '1'));
    await refused('FLUSHALL', redis.flushAll());
    assert.equal(await redis.clientId(), id, 'another connection');
    await roundTrip('after refusal', everyByte);
  },

  'reconnect': async () => { // QUIT makes the server close, and the client notice
    await redis.set(key('kept'), 'value');
    const ready = new Promise((resolve) => redis.once('ready', resolve));
    await redis.sendCommand(['QUIT']);
    await ready;
    assert.equal(await redis.get(key('kept')), 'value');
  },
});
