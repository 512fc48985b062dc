"""Drives a server with Debian's python3-redis: redis_client.py PORT"""

import sys
import threading
import time

import redis

store = redis.Redis(port=int(sys.argv[1]), socket_timeout=30)


def check(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what}: {got!r} instead of {wanted!r}")


check("ping", store.ping(), True)
check("set", store.set("py:a", b"\x00\xff\r\n"), True)
check("get", store.get("py:a"), b"\x00\xff\r\n")
check("set nx", store.set("py:a", "x", nx=True), None)
check("set get", store.set("py:a", "new", get=True), b"\x00\xff\r\n")
check("incr", [store.incr("py:n", 5), store.decr("py:n")], [5, 4])
check("float", store.incrbyfloat("py:f", 0.1) + store.incrbyfloat("py:f", 0.2), 0.4)
check("expire", [store.expire("py:a", 100), 90 < store.ttl("py:a") <= 100, store.persist("py:a"), store.ttl("py:a")], [True, True, True, -1])
check("mset", [store.mset({"py:1": 1, "py:2": 2}), store.mget("py:1", "py:2", "py:none")], [True, [b"1", b"2", None]])
for i in range(250):
    store.set(f"py:scan:{i}", i)
check("scan", len(set(store.scan_iter("py:scan:*", count=20))), 250)

with store.pipeline(transaction=True) as pipe:
    check("transaction", pipe.set("py:t", 1).incr("py:t").get("py:t").execute(), [True, 2, b"2"])
with store.pipeline(transaction=False) as pipe:
    for i in range(500):
        pipe.set(f"py:p:{i}", i)
        pipe.get(f"py:p:{i}")
    check("pipeline", pipe.execute()[1::2], [str(i).encode() for i in range(500)])


def add(pipe):
    value = int(pipe.get("py:watched") or 0)
    pipe.multi()
    pipe.set("py:watched", value + 1)


threads = [threading.Thread(target=lambda: [store.transaction(add, "py:watched") for _ in range(25)]) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
check("watch", store.get("py:watched"), b"100")

try:
    store.incr("py:a")
    raise AssertionError("a text was counted up")
except redis.ResponseError as error:
    check("error", str(error), "value is not an integer or out of range")

listener = store.pubsub()
listener.subscribe("py:channel")
listener.psubscribe("py:pat*")
got = []
deadline = time.monotonic() + 30
while len(got) < 4 and time.monotonic() < deadline:
    message = listener.get_message(timeout=1)
    if message:
        got.append((message["type"], message["data"]))
        if len(got) == 2:
            check("publish", [store.publish("py:channel", "hello"), store.publish("py:pattern", "there")], [1, 1])
check("messages", got, [("subscribe", 1), ("psubscribe", 2), ("message", b"hello"), ("pmessage", b"there")])
listener.close()

check("info", store.info()["redis_mode"], "standalone")
check("delete", store.delete("py:a", "py:none"), 1)
print("checks passed")
