"""Sends the same random commands to Redis and to KeyVa and compares every reply, errors included.

usage: resp_parity.py REDIS_PORT KEYVA_PORT SEED COMMANDS

Replies are compared as they are, but for those that cannot be the same on two servers: times to live may differ by the time between
the two sends, the order of KEYS and SCAN is each server's own, and DBSIZE may count some keys that have expired. Ends with 1 and the first differences, and prints how to repeat it.
"""

import random
import socket
import sys
import time

MOST_DIFFERENCES = 20


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file = self.socket.makefile("rb")

    def call(self, *arguments):
        self.send(arguments)
        return self.read()

    def send(self, arguments):
        message = b"*%d\r\n" % len(arguments)
        for argument in arguments:
            message += b"$%d\r\n%s\r\n" % (len(argument), argument)
        self.socket.sendall(message)

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("the connection ended")
        kind, rest = line[:1], line[1:-2]
        if kind in b"+-:,#_(":
            return (kind, rest)
        count = int(rest)
        if kind in b"$=":
            if count < 0:
                return (kind, None)
            return (kind, self.file.read(count + 2)[:-2])
        if count < 0:
            return (kind, None)
        if kind == b"%":
            count *= 2
        return (kind, [self.read() for _ in range(count)])


class Generator:
    """Chooses commands: mostly right ones on few keys, so that they meet each other, and some that are wrong."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.now = int(time.time())

    def key(self):
        return self.random.choice([b"a", b"b", b"c", b"d", b"e", b"key:with:parts", b"bin\x00\r\n\xff", b"h?llo", b"h[x]llo", b"counter"])

    def value(self):
        r = self.random
        return r.choice(
            [
                lambda: str(r.randint(-20, 20)).encode(),
                lambda: str(r.choice([2**63 - 1, -(2**63), 2**63, 2**62, 10**19, 9999, 10000])).encode(),
                lambda: r.choice([b"", b"0", b"-0", b"+1", b"007", b" 1", b"1 ", b"1.5", b"3.0e3", b"abc", b"hello world", b"\r\n\x00\xff"]),
                lambda: (b"%.*f" % (r.randint(0, 6), r.uniform(-1000, 1000))),
                lambda: bytes(r.choice(b"abcd") for _ in range(r.randint(0, 60))),
            ]
        )()

    def number(self):
        r = self.random
        return r.choice(
            [
                lambda: str(r.randint(-5, 12)).encode(),
                lambda: str(r.randint(-5, 12)).encode(),
                lambda: r.choice([b"x", b"", b"1.5", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"01", b"-0"]),
            ]
        )()

    def seconds(self):
        return self.random.choice([b"100", b"1000", b"50000", b"0", b"-1", b"x", b"9223372036854775807", b"9223372036854776", b"1.5"])

    def later(self, name, key, time):
        """A time to live that does not end before this does: one of the servers may take a command much later than the other."""
        return [name, key, time + b"000" if name == b"PEXPIRE" and time in (b"100", b"1000", b"50000") else time]

    def moment(self, milliseconds):
        at = self.now + self.random.choice([1000, 5000, 100000])
        text = str(at * (1000 if milliseconds else 1)).encode()
        return self.random.choice([text, text, text, b"1", b"-5", b"x", b"9223372036854775807"])

    def expiry(self):
        kind = self.random.choice([b"EX", b"PX", b"EXAT", b"PXAT", b"ex"])
        upper = kind.upper()
        if upper == b"PX":
            return [kind, self.random.choice([b"100000", b"900000", b"0", b"-3", b"x"])]
        return [kind, self.seconds() if upper == b"EX" else self.moment(upper == b"PXAT")]

    def float(self):
        r = self.random
        return r.choice([b"0.1", b"0.2", b"-0.3", b"1e3", b"3", b"1.25e-5", b"x", b"", b"inf", b"-inf", b"nan", b"1e5000", b"0.00000000000000001",
                         b"%f" % r.uniform(-100, 100), b"12345678901234567890.5", b".5", b"5.", b"1e", b"+2.5"])

    def pattern(self):
        return self.random.choice([b"*", b"a*", b"?", b"[a-c]", b"[^a]", b"h?llo", b"h\\?llo", b"h\\[x\\]*", b"key:*:*", b"*x*", b"", b"[", b"[a", b"\\", b"**l*o", b"[c-a]"])

    def data(self):
        r, k, v = self.random, self.key, self.value
        setting = lambda: [x for x in (
            [r.choice([b"NX", b"XX", b"nx"])] * (r.random() < 0.3)
            + [b"GET"] * (r.random() < 0.25)
            + [b"KEEPTTL"] * (r.random() < 0.2)
            + (self.expiry() if r.random() < 0.3 else [])
            + [b"WRONG"] * (r.random() < 0.03))]
        choices = [
            lambda: [b"GET", k()],
            lambda: [b"SET", k(), v()] + setting(),
            lambda: [b"SET", k(), v()],
            lambda: [b"SETNX", k(), v()],
            lambda: [b"SETEX", k(), self.seconds(), v()],
            lambda: [b"PSETEX", k(), r.choice([b"100000", b"0", b"x"]), v()],
            lambda: [b"GETSET", k(), v()],
            lambda: [b"GETDEL", k()],
            lambda: [b"GETEX", k()] + r.choice([[], [b"PERSIST"], self.expiry(), [b"PERSIST"] + self.expiry(), [b"NX"]]),
            lambda: [b"MGET"] + [k() for _ in range(r.randint(1, 5))],
            lambda: [b"MSET"] + [x for _ in range(r.randint(1, 4)) for x in (k(), v())] + [b"odd"] * (r.random() < 0.1),
            lambda: [b"MSETNX"] + [x for _ in range(r.randint(1, 3)) for x in (k(), v())],
            lambda: [b"APPEND", k(), v()],
            lambda: [b"STRLEN", k()],
            lambda: [b"INCR", k()],
            lambda: [b"DECR", k()],
            lambda: [b"INCRBY", k(), self.number()],
            lambda: [b"DECRBY", k(), self.number()],
            lambda: [b"INCRBYFLOAT", k(), self.float()],
            lambda: [b"GETRANGE", k(), self.number(), self.number()],
            lambda: [b"SUBSTR", k(), self.number(), self.number()],
            lambda: [b"SETRANGE", k(), r.choice([b"0", b"1", b"5", b"40", b"-1", b"x"]), v()],
            lambda: [b"LCS", k(), k()] + r.choice([[], [b"LEN"], [b"IDX"], [b"IDX", b"WITHMATCHLEN"], [b"IDX", b"MINMATCHLEN", b"2"], [b"IDX", b"LEN"], [b"X"]]),
            lambda: [b"DEL"] + [k() for _ in range(r.randint(1, 3))],
            lambda: [b"UNLINK"] + [k() for _ in range(r.randint(1, 3))],
            lambda: [b"EXISTS"] + [k() for _ in range(r.randint(1, 4))],
            lambda: [b"TOUCH"] + [k() for _ in range(r.randint(1, 4))],
            lambda: [b"TYPE", k()],
            lambda: [b"KEYS", self.pattern()],
            lambda: [b"DBSIZE"],
            lambda: [b"RENAME", k(), k()],
            lambda: [b"RENAMENX", k(), k()],
            lambda: [b"COPY", k(), k()] + r.choice([[], [b"REPLACE"], [b"DB", b"0"], [b"DB", b"1"], [b"DB", b"x"], [b"X"]]),
            lambda: self.later(r.choice([b"EXPIRE", b"PEXPIRE"]), k(), self.seconds()) + r.choice([[], [], [b"NX"], [b"XX"], [b"GT"], [b"LT"], [b"NX", b"GT"], [b"GT", b"LT"], [b"XX", b"GT"], [b"zz"]]),
            lambda: [b"EXPIREAT", k(), self.moment(False)],
            lambda: [b"PEXPIREAT", k(), self.moment(True)] + r.choice([[], [b"NX"], [b"LT"]]),
            lambda: [r.choice([b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME"]), k()],
            lambda: [b"PERSIST", k()],
            lambda: [b"OBJECT", b"REFCOUNT", b"missing"],
            lambda: [b"MEMORY", b"USAGE", b"missing"],
            lambda: [b"WAIT", b"0", r.choice([b"0", b"10", b"x", b"-1"])],
            lambda: [b"PING"] + r.choice([[], [b"hi"], [b"a", b"b"]]),
            lambda: [b"ECHO", v()],
            lambda: [b"SELECT", r.choice([b"0", b"1", b"-1", b"x", b"99999999999"])],
            lambda: [b"UNWATCH"],
            lambda: [b"PUBLISH", b"channel", v()],
            lambda: [b"CLIENT", b"GETNAME"],
            lambda: [b"CLIENT", b"SETNAME", r.choice([b"name", b"with space", b""])],
            lambda: [b"CONFIG", b"GET", r.choice([b"databases", b"save", b"nothing*"])],
            lambda: [b"COMMAND", b"GETKEYS"] + r.choice([[b"GET", b"x"], [b"MSET", b"x", b"1", b"y", b"2"], [b"PING"], [b"NOPE"], [b"GET"]]),
        ]
        return r.choice(choices)()

    def wrong(self):
        r = self.random
        return r.choice(
            [
                lambda: [b"NOSUCH"] + [self.value() for _ in range(r.randint(0, 4))],
                lambda: [r.choice([b"GET", b"SET", b"INCR", b"MGET", b"DEL", b"EXPIRE", b"SCAN", b"WATCH", b"PUBLISH", b"LCS", b"ECHO", b"SETRANGE"])],
                lambda: [b"GET", b"a", b"b"],
                lambda: [b"CLIENT", b"NOSUCH"],
                lambda: [b"CLIENT"],
                lambda: [b"OBJECT", b"NOSUCH", b"a"],
                lambda: [b"CONFIG", b"SET", b"nosuch", b"1"],
                lambda: [b"SCAN", r.choice([b"x", b"0"]), r.choice([b"COUNT", b"MATCH", b"X"]), r.choice([b"0", b"x", b"*"])],
                lambda: [b"AUTH", b"password"],
                lambda: [b"AUTH", b"default", b"password"],
                lambda: [b"AUTH", b"someone", b"password"],
                lambda: [b"EXEC"],
                lambda: [b"DISCARD"],
                lambda: [b"FLUSHALL", b"NOW"],
                lambda: [b"HELLO", r.choice([b"4", b"x"])],
                lambda: [b"HELLO", b"2", b"X"],
                lambda: [b"CLIENT", b"REPLY", b"X"],
                lambda: [b"CLIENT", b"KILL", b"ID", b"x"],
                lambda: [b"SET", b"a"],
            ]
        )()

    def cased(self, command):
        if self.random.random() < 0.2:
            return [command[0].lower()] + command[1:]
        return command

    def step(self):
        """Commands of one turn, each with the connection it goes over."""
        r = self.random
        chance = r.random()
        if chance < 0.02:
            return [(0, [b"FLUSHALL"] + r.choice([[], [b"ASYNC"], [b"SYNC"]]))]
        if chance < 0.08:
            return [(0, self.wrong())]
        if chance < 0.20:
            return self.transaction()
        if chance < 0.22:
            return [(0, "scan")]
        return [(0, self.cased(self.data()))]

    def transaction(self):
        r = self.random
        steps = []
        if r.random() < 0.5:
            steps.append((0, [b"WATCH"] + [self.key() for _ in range(r.randint(1, 3))]))
        if r.random() < 0.3:
            steps.append((1, self.data()))
        steps.append((0, [b"MULTI"]))
        for _ in range(r.randint(0, 5)):
            if r.random() < 0.05:
                steps.append((0, r.choice([[b"MULTI"], [b"WATCH", b"a"], self.wrong()])))
            else:
                steps.append((0, self.data()))
        if r.random() < 0.2:
            steps.append((1, self.data()))
        steps.append((0, r.choice([[b"EXEC"], [b"EXEC"], [b"EXEC"], [b"EXEC"], [b"DISCARD"]])))
        return steps


TIMES = {b"TTL": 1, b"PTTL": 2000, b"EXPIRETIME": 1, b"PEXPIRETIME": 2000}

# The longest time that one command took on both servers, in seconds: so much later a time to live may begin on one of them, and so much later it may be read.
longest = 0.0


def same(command, left, right):
    if left == right:
        return True
    name = command[0].upper()
    if name == b"KEYS" and left[0] == right[0] == b"*":
        return sorted(left[1]) == sorted(right[1])
    if name == b"SCAN" and left[0] == right[0] == b"*":
        return sorted(left[1][1][1]) == sorted(right[1][1][1])
    if name == b"DBSIZE" and left[0] == right[0] == b":":
        # Each counts keys that have expired until it comes to reclaim them.
        return abs(int(left[1]) - int(right[1])) <= 3
    if name in TIMES and left[0] == right[0] == b":":
        one, other = int(left[1]), int(right[1])
        return one >= 0 and other >= 0 and abs(one - other) <= TIMES[name] + int(2 * longest * (1000 if name[:1] == b"P" else 1))
    return False


def same_exec(queued, left, right):
    if left[0] != right[0] or left[0] != b"*" or left[1] is None or right[1] is None:
        return left == right
    return len(left[1]) == len(right[1]) == len(queued) and all(
        same(command, one, other) for command, one, other in zip(queued, left[1], right[1]))


def scan(connection):
    keys, cursor = [], b"0"
    while True:
        _, (cursor, found) = connection.call(b"SCAN", cursor[1] if isinstance(cursor, tuple) else cursor, b"COUNT", b"3")
        keys += [key for _, key in found[1]]
        if cursor[1] == b"0":
            return (b"*", sorted(set(keys)))


def main():
    global longest
    redis_port, keyva_port, seed, count = (int(text) for text in sys.argv[1:5])
    generator = Generator(seed)
    redis = [Connection(redis_port), Connection(redis_port)]
    keyva = [Connection(keyva_port), Connection(keyva_port)]
    if seed % 2:
        for pair in (redis, keyva):
            for connection in pair:
                connection.call(b"HELLO", b"3")
    redis[0].call(b"FLUSHALL")
    keyva[0].call(b"FLUSHALL")
    differences, done, queued = [], 0, None
    while done < count and len(differences) < MOST_DIFFERENCES:
        before = len(differences)
        for which, command in generator.step():
            done += 1
            if command == "scan":
                left, right = scan(redis[0]), scan(keyva[0])
                equal = left == right
            else:
                begun = time.monotonic()
                left, right = redis[which].call(*command), keyva[which].call(*command)
                longest = max(longest, time.monotonic() - begun)
                name = command[0].upper()
                if which == 0 and name == b"EXEC" and queued is not None:
                    equal = same_exec(queued, left, right)
                else:
                    equal = same(command, left, right)
                if which == 0 and name == b"MULTI" and queued is None:
                    queued = []
                elif which == 0 and name in (b"EXEC", b"DISCARD") and equal:
                    queued = None
                elif which == 0 and queued is not None and left == (b"+", b"QUEUED"):
                    queued.append(command)
            if not equal:
                differences.append(f"{which} {command} {queued or ''}\n  redis: {left}\n  keyva: {right}")
        if len(differences) > before:
            # One difference must not bring others with it.
            for connection in redis[:1] + keyva[:1]:
                connection.call(b"DISCARD")
                connection.call(b"FLUSHALL")
            queued = None
    for difference in differences:
        print(difference)
    print(f"{done} commands, {len(differences)} differences; repeat with seed {seed}")
    if not differences:
        print("checks passed")
    return 1 if differences else 0


sys.exit(main())
