"""Two well-behaved users for frames.py, in a process of their own: they exchange numbered messages and measure the delays."""

import asyncio
import time

from frame_client import Fault, connect, text

CHANNEL = "room:well-behaved"
# Seconds between two messages of a user, and the longest delay of 99 % of them that counts as undisturbed.
PAUSE = 0.05
LONGEST = 0.5


class Pair:
    """Runs the two for a `with` block; then `faults` and `summary` say how it went."""

    def __init__(self, context, api, ada, bob):
        self.stop = context.Event()
        self.ready = context.Event()
        self.results, results = context.Pipe(duplex=False)
        self.process = context.Process(target=exchange, args=(api, (ada, bob), self.ready, self.stop, results), daemon=True)
        self.faults = []
        self.summary = ""

    def __enter__(self):
        self.process.start()
        while not self.ready.wait(0.1):
            if not self.process.is_alive():
                raise AssertionError("the two well-behaved users cannot connect")
        return self

    def __exit__(self, kind, *_):
        self.stop.set()
        if kind is None and self.results.poll(30):
            self.faults, self.summary = self.results.recv()
        elif kind is None:
            self.faults = ["no result within 30 s"]
        self.process.join(5)
        self.process.kill()


def exchange(api, tokens, ready, stop, results):
    results.send(asyncio.run(talk(api, tokens, ready, stop)))


async def talk(api, tokens, ready, stop):
    delays, faults, sent, acks, received = [], [], [0, 0], [0, 0], [0, 0]
    sides = [await connect(api, token) for token in tokens]
    for side in sides:
        await side.send(text({"type": "subscribe", "channel": CHANNEL}))
        if await side.answer() != "subscribed":
            return ["cannot subscribe"], ""
    ready.set()

    async def write(me):
        while not stop.is_set():
            data = {"number": sent[me], "at": time.monotonic()}
            await sides[me].send(text({"type": "message", "channel": CHANNEL, "data": data, "id": str(sent[me])}))
            sent[me] += 1
            await asyncio.sleep(PAUSE)

    async def read(me):
        while True:
            found = await sides[me].json()
            if found["type"] == "ack":
                acks[me] += 1
            elif found["type"] == "message":
                content = found["data"]["content"]
                delays.append(time.monotonic() - content["at"])
                if content["number"] != received[me]:
                    raise Fault(f"message {content['number']} instead of {received[me]}")
                received[me] += 1
            else:
                raise Fault(f"got {found}")

    readers = [asyncio.create_task(read(me)) for me in (0, 1)]
    await asyncio.gather(write(0), write(1))
    end = time.monotonic() + 10
    while time.monotonic() < end and not any(reader.done() for reader in readers) and (received != sent[::-1] or acks != sent):
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)  # for copies
    for reader in readers:
        if reader.done():
            faults.append(repr(reader.exception()))
        reader.cancel()
    for side in sides:
        side.raw.close()
    if received != sent[::-1] or acks != sent:
        faults.append(f"of {sent} messages {acks} were confirmed, and {received[::-1]} arrived")
    delays.sort()
    if not delays:
        return [*faults, "no message arrived"], ""
    late = delays[int(len(delays) * 0.99)]
    if late > LONGEST:
        faults.append(f"1 % of the messages took longer than {late * 1000:.0f} ms")
    times = ", ".join(
        f"{name} {delay * 1000:.1f} ms" for name, delay in (("p50", delays[len(delays) // 2]), ("p99", late), ("most", delays[-1]))
    )
    return faults, f"{sum(sent)} messages, {times}"
