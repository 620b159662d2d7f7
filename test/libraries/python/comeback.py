"""Holds a connection of a Python library in a state; see ../comeback_test.go."""
import logging
import os
import sys
import threading
import time

URL, KEY = os.environ["REDIS_URL"], os.environ["KEY"]


def say(text):
    print(text.replace("\n", " "), flush=True)


def attempt(do):
    try:
        do()
        say("ok")
    except Exception as e:
        say(f"err {type(e).__name__}: {e}")
        return False
    return True


def next_line():
    if not sys.stdin.readline():
        os._exit(0)


def on_lines(do):
    while True:
        next_line()
        attempt(do)


def for_ever(do):
    while True:
        if not attempt(do):
            time.sleep(0.1)


def redis_py():
    import redis
    return redis.Redis.from_url(URL)


def redis_py_command():
    r = redis_py()

    def do():
        r.set(KEY, "v")
        r.get(KEY)
    on_lines(do)


def redis_py_blocked():
    r = redis_py()
    for_ever(lambda: r.blpop(KEY, 0))


def redis_py_subscribed():
    p = redis_py().pubsub(ignore_subscribe_messages=True)
    p.subscribe(KEY)

    def do():
        while p.get_message(timeout=60) is None:
            pass
    for_ever(do)


def redis_py_transaction():
    r = redis_py()

    def do():
        with r.pipeline() as p:
            p.watch(KEY)
            p.get(KEY)
            say("watched")
            next_line()
            p.multi()
            p.set(KEY, "v")
            p.execute()
    on_lines(do)


def rq_worker():
    import redis
    import rq
    queue = rq.Queue(KEY, connection=redis_py())

    def enqueue():
        while True:
            next_line()
            try:
                rq.Queue(KEY, connection=redis_py()).enqueue(print, "ok", flush=True)
            except redis.RedisError:
                pass  # the worker is asked, not this
    logging.getLogger("rq.worker").setLevel(logging.CRITICAL)
    threading.Thread(target=enqueue, daemon=True).start()
    try:
        rq.SimpleWorker([queue], connection=queue.connection).work(logging_level="CRITICAL")
        say("ended")
    except Exception as e:
        say(f"ended {type(e).__name__}: {e}")
    os._exit(0)


def celery_worker():
    from celery import Celery
    app, client = Celery("comeback", broker=URL), Celery("client", broker=URL)
    for one in app, client:
        one.conf.update(task_default_queue=KEY, worker_hijack_root_logger=False, worker_redirect_stdouts=False, broker_transport_options={"max_retries": 1})

    @app.task(name="work", ignore_result=True)
    def work():
        say("ok")

    def enqueue():
        while True:
            next_line()
            try:
                client.send_task("work", retry=False)
            except Exception:
                pass  # the worker is asked, not this
    logging.getLogger("celery").setLevel(logging.CRITICAL)
    threading.Thread(target=enqueue, daemon=True).start()
    try:
        app.Worker(pool="solo", quiet=True, without_gossip=True, without_mingle=True, loglevel="CRITICAL").start()
        say("ended")
    except Exception as e:
        say(f"ended {type(e).__name__}: {e}")
    os._exit(0)


globals()[f"{sys.argv[1]}_{sys.argv[2]}".replace("-", "_")]()
