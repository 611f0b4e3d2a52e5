"""Sends hostile frames to the WebSocket, while two well-behaved users exchange messages: they must not notice.

    frames.py <API> <token> <token of ada> <token of bob> [--seconds 20] [--seed 1] [--ping-interval 30]

The first user is hostile; ada and bob are two others. Checks the answer to each kind of broken handshake, frame, text and load
(RFC 6455, and the codes of docs/realtime.md), then mutates valid frames for some seconds. At the end the server must be healthy,
and each message between the two must have arrived once, in order and soon. Connections that answer no ping are checked if the
interval of the server, WS_PING_INTERVAL, is at most 10 s.
"""

import argparse
import asyncio
import multiprocessing
import sys
import time
import urllib.request

import frame_cases as cases
from frame_client import TEXT, Fault, close, connect, frame, head, shake, tcp, text
from frame_loads import check_loads
from frame_pair import Pair

faults = []
checked = 0


def check(name, condition, what):
    global checked
    checked += 1
    if not condition:
        faults.append(f"{name}: {what}")
        print(f"  FAULT {faults[-1]}", flush=True)


async def check_handshakes(api, token):
    for name, query, headers, wanted in cases.handshakes(token):
        async with await tcp(api) as connection:
            status, _ = await shake(connection, head(api, query, **headers))
            check(name, status in wanted, f"status {status}, expected {wanted}")
    for query in ("", "token=", "token=x", "ticket=x", f"token={token[:-4]}", "token=%00", f"token={'x' * 5000}"):
        async with await tcp(api) as connection:
            status, _ = await shake(connection, head(api, query))
            found = await connection.end() if status == 101 else f"status {status}"
            check(f"handshake with {query[:20]!r}", found == 1008, f"{found}, expected 1008")


async def check_closings(api, token):
    """Broken frames: each ends the connection with its code."""
    for name, data, wanted in cases.closings():
        async with await connect(api, token) as connection:
            await connection.send(data)
            found = await connection.end()
            check(name, found in wanted, f"{found}, expected {wanted}")


async def check_openings(api, token):
    """Frames that are valid, however odd, and texts that are refused: the connection stays."""
    async with await connect(api, token) as connection:
        for name, data, wanted in cases.openings():
            try:
                await connection.send(data)
                found = await connection.answer() if wanted else None
                check(name, found is None or found in wanted, f"{found}, expected {wanted}")
                alive = await connection.is_alive()
            except Fault as fault:
                check(name, False, fault)
                alive = False
            if not alive:
                check(name, False, "the connection does not go on")
                return
            await asyncio.sleep(0.05)  # the rate limit
    async with await connect(api, token, size=1) as connection:
        await connection.send(text({"type": "ping"}) + frame(TEXT, b'{"type"', fin=False) + frame(0, b':"ping"}'), size=1)
        check("single bytes", [await connection.answer(), await connection.answer()] == ["pong", "pong"], "two pings are not answered")
        await connection.send(close(1000) + text({"type": "ping"}))
        found = await connection.end()
        check("data after a close frame", found == 1000, f"{found}, expected 1000")


async def watch(name, connection, interval):
    """A connection that answers no ping is dropped at the second that it misses."""
    begin = time.monotonic()
    connection.pongs = False
    if name == "does not read":
        await asyncio.sleep(4 * interval + 2)
    found = await connection.end(6 * interval + 5)
    took = time.monotonic() - begin
    check(name, found is not None, f"still connected after {took:.0f} s")
    if name != "does not read" and found is not None:
        check(name, interval < took < 4 * interval + 2, f"dropped after {took:.1f} s at an interval of {interval} s")
    async with connection:
        pass


async def start_watches(api, token, interval):
    """Connections without pongs, with half a frame and with half a handshake, held open meanwhile."""
    half = text({"type": "ping"})
    beginnings = {"no pongs": b"", "does not read": b"", "half a header": half[:1], "half a mask": half[:4], "half a text": half[:-3]}
    watches = []
    for name, data in beginnings.items():
        connection = await connect(api, token, receive_buffer=4096 if name == "does not read" else None)
        await connection.send(data)
        watches.append((name, connection))
    tasks = [asyncio.create_task(watch(name, connection, interval)) for name, connection in watches] if interval <= 10 else []
    request = head(api, "token=" + token)
    handshakes = [await tcp(api) for _ in range(20)]
    for number, connection in enumerate(handshakes):
        await connection.send(request[: number * len(request) // 20])
    return tasks, handshakes, watches


async def mutate(api, token, seconds, seed):
    """Sends mutated frames; the server goes on, or closes with a code that fits."""
    counts = {}

    async def worker(number):
        rounds = 0
        while time.monotonic() < end:
            name = f"{seed}:{number}:{rounds}"
            rounds += 1
            data, size = cases.mutated(name)
            try:
                async with await connect(api, token) as connection:
                    await connection.send(data, size)
                    found = await connection.outcome()
            except (Fault, OSError, EOFError, TimeoutError) as error:
                found = repr(error)
            counts[found] = counts.get(found, 0) + 1
            if found not in cases.MUTATED:
                check(f"mutation {name}", False, f"{found} after {data[:200].hex()}")

    end = time.monotonic() + seconds
    await asyncio.gather(*(worker(number) for number in range(4)))
    print(f"frames.py: {sum(counts.values())} mutations: {dict(sorted(counts.items(), key=lambda item: -item[1]))}", flush=True)


async def run(options):
    api, hostile = options.api.rstrip("/"), options.token
    tasks, handshakes, watches = await start_watches(api, hostile, options.ping_interval)
    for step in (check_handshakes, check_closings, check_openings):
        await step(api, hostile)
    print(f"frames.py: {checked} answers to handshakes and frames", flush=True)
    await check_loads(api, hostile, options.ada, options.bob, check)
    await asyncio.gather(*tasks)
    await mutate(api, hostile, options.seconds, options.seed)
    for connection in handshakes + [connection for _, connection in watches]:
        connection.raw.close()
    with urllib.request.urlopen(f"{api}/public/health", timeout=10) as answer:
        check("health", answer.status == 200, f"status {answer.status}")


def main():
    parser = argparse.ArgumentParser()
    for name in ("api", "token", "ada", "bob"):
        parser.add_argument(name)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ping-interval", type=float, default=30)
    options = parser.parse_args()
    # In a process of its own, so that the work of this one does not count as the server's latency.
    with Pair(multiprocessing.get_context("spawn"), options.api.rstrip("/"), options.ada, options.bob) as pair:
        asyncio.run(run(options))
    for fault in pair.faults:
        check("the two well-behaved users", False, fault)
    print(f"frames.py: the two well-behaved users: {pair.summary}", flush=True)
    if faults:
        sys.exit(f"{len(faults)} faults, seed {options.seed}:\n" + "\n".join(faults[:50]))


if __name__ == "__main__":
    main()
