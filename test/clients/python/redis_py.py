"""redis-py (Debian's python3-redis), as an application uses it."""

import os
import sys
import threading
from urllib.parse import urlsplit

import redis

URL = os.environ["REDIS_URL"]
EVERY_BYTE = bytes(range(256))
MEGABYTE = EVERY_BYTE * 4096
SECONDS = 60  # the longest that one command may take


def connect(url=URL):
    return redis.Redis.from_url(url, socket_timeout=SECONDS)


r = connect()
other = connect()  # another part of the application


def key(name):
    return f"{os.environ['PREFIX']}:{name}".encode()


def equal(got, want):
    if got != want:
        raise AssertionError(f"got {got!r:.200}, want {want!r:.200}")


def refused(*command):
    try:
        r.execute_command(*command)
    except redis.ResponseError as error:  # NoPermissionError is one too
        if isinstance(error, redis.exceptions.NoPermissionError) or "unknown command" in str(error):
            return
        raise
    raise AssertionError(f"{command} was not refused")


def round_trip(name, value):
    equal(r.set(key(name), value), True)
    equal(r.get(key(name)), value)


def set_get():
    equal(r.set(key("plain"), "value"), True)
    equal(r.get(key("plain")), b"value")
    equal(r.get(key("absent")), None)


def binary_value():
    round_trip("binary", EVERY_BYTE)


def large_value():
    round_trip("large", MEGABYTE)


def expire():
    r.set(key("mortal"), "value")
    equal(r.ttl(key("mortal")), -1)
    equal(r.expire(key("mortal"), 100), True)
    equal(90 < r.ttl(key("mortal")) <= 100, True)
    r.pexpire(key("mortal"), 10)
    while r.get(key("mortal")) is not None:
        pass


def pipeline():
    pipe = r.pipeline(transaction=False)
    for _ in range(100):
        pipe.incr(key("counter"))
    equal(pipe.execute(), list(range(1, 101)))


def transaction():
    pipe = r.pipeline()  # redis-py wraps it in MULTI and EXEC
    pipe.set(key("tx"), 41).incr(key("tx")).get(key("tx"))
    equal(pipe.execute(), [True, 42, b"42"])


def watch_abort():
    r.set(key("watched"), "mine")
    with r.pipeline() as pipe:
        pipe.watch(key("watched"))
        other.set(key("watched"), "theirs")
        pipe.multi()
        pipe.set(key("watched"), "lost")
        try:
            pipe.execute()
        except redis.WatchError:
            return equal(r.get(key("watched")), b"theirs")
    raise AssertionError("EXEC ran although a watched key had changed")


def pubsub():
    subscriber = r.pubsub()
    subscriber.subscribe(key("news"))
    equal(subscriber.get_message(timeout=SECONDS)["type"], "subscribe")
    equal(r.publish(key("news"), "hello"), 1)
    message = subscriber.get_message(timeout=SECONDS)
    equal((message["channel"], message["data"]), (key("news"), b"hello"))
    subscriber.unsubscribe(key("news"))
    equal(subscriber.get_message(timeout=SECONDS)["type"], "unsubscribe")
    subscriber.close()


def blpop_woken():
    jobs = []
    worker = threading.Thread(target=lambda: jobs.append(other.blpop(key("queue"), 15)))
    worker.start()
    while r.info("clients")["blocked_clients"] != 1:
        pass
    r.rpush(key("queue"), "job")
    worker.join()
    equal(jobs, [(key("queue"), b"job")])


def blpop_timeout():
    equal(r.execute_command("BLPOP", key("empty"), "0.1"), None)
    equal(r.ping(), True)


def hash_():
    equal(r.hset(key("hash"), mapping={"name": "n", "count": 1}), 2)
    equal(r.hincrby(key("hash"), "count", 2), 3)
    equal(r.hgetall(key("hash")), {b"name": b"n", b"count": b"3"})


def zset():
    equal(r.zadd(key("zset"), {"a": 1, "b": 2.5}), 2)
    equal(r.zrange(key("zset"), 0, -1, withscores=True), [(b"a", 1.0), (b"b", 2.5)])
    equal(r.zrank(key("zset"), "b"), 1)


def scan():
    names = {key(f"scan:{i}") for i in range(200)}
    r.mset(dict.fromkeys(names, "v"))
    equal(set(r.scan_iter(match=key("scan:*"), count=50)), names)


def wrong_password():
    address = urlsplit(URL)
    intruder = connect(f"redis://:not-the-password@{address.hostname}:{address.port}")
    try:
        intruder.ping()
    except redis.ResponseError as error:
        return equal(str(error).split()[0], "WRONGPASS")
    raise AssertionError("a wrong password was let in")


def refused_command():
    connection = r.client_id()
    refused("CONFIG SET", "maxmemory", "1")
    refused("FLUSHALL")
    equal(r.client_id(), connection)
    round_trip("after refusal", EVERY_BYTE)


def reconnect():
    r.set(key("kept"), "value")
    r.connection_pool.disconnect()
    equal(r.get(key("kept")), b"value")


BEHAVIOURS = {
    "set-get": set_get,
    "binary-value": binary_value,
    "large-value": large_value,
    "expire": expire,
    "pipeline": pipeline,
    "transaction": transaction,
    "watch-abort": watch_abort,
    "pubsub": pubsub,
    "blpop-woken": blpop_woken,
    "blpop-timeout": blpop_timeout,
    "hash": hash_,
    "zset": zset,
    "scan": scan,
    "wrong-password": wrong_password,
    "refused-command": refused_command,
    "reconnect": reconnect,
}


def main():
    failed = False
    for name in sys.argv[1:]:
        try:
            BEHAVIOURS[name]()
            print("ok", name, flush=True)
        except Exception as error:  # each behaviour is reported, whatever became of the last
            failed = True
            print(f"FAIL {name}: {type(error).__name__}: {error}".replace("\n", " "), flush=True)
    sys.exit(failed)


main()
