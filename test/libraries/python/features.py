"""Does with a Python library what applications do with it; see ../libraries_test.go.
Ends with 1 if that failed."""
import asyncio
import os
import signal
import subprocess
import sys
import time

URL = os.environ["REDIS_URL"]
PATIENCE = 20


# Celery: the worker is a process of its own, which imports this file as a module.
def celery_app():
    from celery import Celery
    app = Celery("features", broker=URL, backend=URL)
    app.conf.update(broker_connection_retry=False, broker_connection_max_retries=0)

    @app.task(name="add")
    def add(a, b):
        return a + b

    return app, add


if __name__ != "__main__":
    app, _ = celery_app()


def celery_run(**options):
    import celery.exceptions
    app, add = celery_app()
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "features", "worker", "--pool", "solo", "--loglevel", "ERROR"],
        cwd=os.path.dirname(os.path.abspath(__file__)), env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1", C_FORCE_ROOT="1"))
    try:
        result = add.apply_async((1, 2), **options)
        deadline = time.monotonic() + 3 * PATIENCE  # a worker takes long to start where much else runs
        while not result.ready():
            assert worker.poll() is None, "the worker ended"
            assert time.monotonic() < deadline, "the job was not done"
            try:
                result.get(timeout=1)
            except celery.exceptions.TimeoutError:
                pass
        assert result.get() == 3
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(PATIENCE)


def celery_results():
    app, _ = celery_app()
    app.backend.store_result("an-id", 42, "SUCCESS")
    assert app.AsyncResult("an-id").get(timeout=PATIENCE) == 42


def rq_queue():
    import redis
    import rq
    connection = redis.Redis.from_url(URL)
    return rq, connection, rq.Queue(connection=connection)


def rq_run():
    rq, connection, queue = rq_queue()
    job = queue.enqueue("operator.add", 1, 2)
    rq.SimpleWorker([queue], connection=connection).work(burst=True, logging_level="ERROR")
    assert job.result == 3


def rq_empty():
    _, _, queue = rq_queue()
    queue.enqueue("operator.add", 1, 2)
    queue.empty()
    assert queue.count == 0


def django_cache():
    from django.conf import settings
    settings.configure(
        CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": URL}},
        SESSION_ENGINE="django.contrib.sessions.backends.cache", SECRET_KEY="x", INSTALLED_APPS=[])
    import django
    django.setup()
    from django.core.cache import cache
    return cache


def django_values():
    cache = django_cache()
    cache.set("k", "v", 60)
    assert cache.get("k") == "v"
    assert cache.add("other", 1)
    cache.set_many({"a": 1, "b": 2}, 60)
    assert cache.get_many(["a", "b"]) == {"a": 1, "b": 2}
    cache.touch("a", 60)
    cache.delete("k")
    cache.delete_many(["a", "b"])


def django_incr():
    cache = django_cache()
    cache.set("n", 1, 60)
    assert cache.incr("n") == 2


def django_clear():
    cache = django_cache()
    cache.set("k", "v", 60)
    cache.clear()
    assert cache.get("k") is None


def django_patterns():
    cache = django_cache()
    cache.set("k1", "v", 60)
    assert list(cache.iter_keys("k*")) == ["k1"]
    assert cache.delete_pattern("k*") == 1


def django_keys():
    cache = django_cache()
    cache.set("k1", "v", 60)
    assert cache.keys("k*") == ["k1"]


def django_lock():
    with django_cache().lock("l", timeout=5):
        pass


def django_sessions():
    django_cache()
    from django.contrib.sessions.backends.cache import SessionStore
    session = SessionStore()
    session["user"] = "u"
    session.save()
    assert SessionStore(session.session_key)["user"] == "u"
    session.cycle_key()
    session.flush()


def channels(layer):
    async def run():
        name = await layer.new_channel()
        await layer.group_add("g", name)
        heard = asyncio.ensure_future(layer.receive(name))
        while not heard.done():  # what is sent right after a subscription may overtake it
            await layer.group_send("g", {"type": "hello"})
            await asyncio.wait([heard], timeout=0.2)
        assert heard.result()["type"] == "hello"
        await layer.group_discard("g", name)
    asyncio.run(asyncio.wait_for(run(), PATIENCE))


def channels_queues():
    from channels_redis.core import RedisChannelLayer
    channels(RedisChannelLayer(hosts=[URL]))


def channels_pubsub():
    from channels_redis.pubsub import RedisPubSubChannelLayer
    channels(RedisPubSubChannelLayer(hosts=[URL]))


def redis_client():
    import redis
    return redis.Redis.from_url(URL)


def redis_cache():
    r = redis_client()
    r.set("k", "v", ex=60)
    assert r.get("k") == b"v"
    with r.pipeline() as p:
        assert p.get("k").delete("k").execute() == [b"v", 1]


def redis_lock():
    lock = redis_client().lock("l", timeout=5)
    assert lock.acquire()
    lock.extend(5)
    lock.release()


FEATURES = {
    "celery jobs": celery_run,
    "celery later": lambda: celery_run(countdown=1),
    "celery results": celery_results,
    "rq jobs": rq_run,
    "rq empty": rq_empty,
    "django-redis cache": django_values,
    "django-redis incr": django_incr,
    "django-redis clear": django_clear,
    "django-redis delete_pattern, iter_keys": django_patterns,
    "django-redis keys": django_keys,
    "django-redis lock": django_lock,
    "django-redis sessions": django_sessions,
    "channels-redis messages": channels_queues,
    "channels-redis messages, pub/sub layer": channels_pubsub,
    "redis-py cache": redis_cache,
    "redis-py lock": redis_lock,
}

if __name__ == "__main__":
    FEATURES[sys.argv[1]]()
