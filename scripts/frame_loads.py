"""Loads that frames.py puts on the server: subscriptions, publishing and reading beyond the limits."""

import asyncio
import contextlib
import json
import time

from frame_client import CLOSE, PATIENCE, TEXT, Fault, connect, text

SUBSCRIPTIONS = 100
FLOOD = 1_000_000
# Longest duration of a flood in seconds.
DURATION = 15


async def collect(connection, into):
    """Counts what the server sends, by type or code, until it confirms the end of a subscription."""
    try:
        while True:
            opcode, payload = await connection.read()
            if opcode == CLOSE:
                into["closed"] = into.get("closed", 0) + 1
                return
            if opcode == TEXT:
                found = json.loads(payload)
                if found["type"] == "unsubscribed":
                    return
                name = found["data"]["code"] if found["type"] == "error" else found["type"]
                into[name] = into.get(name, 0) + 1
    except (EOFError, OSError):
        into["ended without a close frame"] = 1


async def flood(connection, make):
    """Sends frames as fast as the server takes them; returns how many, the seconds it took, and the counted answers."""
    counts = {}
    reader = asyncio.create_task(collect(connection, counts))
    begin, sent = time.monotonic(), 0
    while sent < FLOOD and time.monotonic() < begin + DURATION and not reader.done():
        await connection.send(b"".join(make(number) for number in range(sent, sent + 1000)))
        sent += 1000
    await asyncio.sleep(2.5)  # the bucket of the rate limit fills again
    took = time.monotonic() - begin
    await connection.send(text({"type": "unsubscribe", "channel": "room:flood"}))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(reader, PATIENCE)
    return sent, took, counts


async def subscriptions(api, token, check):
    async with await connect(api, token) as connection:
        answers = []
        for number in range(SUBSCRIPTIONS + 1):
            await connection.send(text({"type": "subscribe", "channel": f"room:many-{number}"}))
            answers.append(await connection.answer())
            if number == 60:
                await asyncio.sleep(1.5)  # the rate limit
        wanted = ["subscribed"] * SUBSCRIPTIONS + ["SUBSCRIPTION_LIMIT"]
        check("one subscription too many", answers == wanted, f"{answers[-5:]}, expected {wanted[-1]} for the last alone")
        await connection.send(text({"type": "subscribe", "channel": "room:many-0"}))
        check("a repeated subscription at the limit", await connection.answer() == "subscribed", "is refused")
        await connection.send(
            text({"type": "unsubscribe", "channel": "room:many-0"}) + text({"type": "subscribe", "channel": "room:other"})
        )
        check("room after an end", [await connection.answer(), await connection.answer()] == ["unsubscribed", "subscribed"], "is none")


async def floods(api, token, check):
    loads = {
        "subscriptions": lambda number: text({"type": "subscribe", "channel": f"room:flood-{number}"}),
        "messages": lambda number: text({"type": "message", "channel": "room:flood", "data": number, "id": str(number)}),
    }
    for name, make in loads.items():
        async with await connect(api, token) as connection:
            await connection.send(text({"type": "subscribe", "channel": "room:flood"}))
            await connection.answer()
            sent, took, counts = await flood(connection, make)
            limited = counts.get("RATE_LIMITED", 0)
            print(f"frames.py: {sent} {name} in {took:.0f} s: {counts}", flush=True)
            check(
                f"flood of {name}", 0 < limited <= took + 1, f"{limited} errors RATE_LIMITED in {took:.1f} s, expected at most one a second"
            )
            allowed = {"subscribed", "SUBSCRIPTION_LIMIT", "RATE_LIMITED", "ack"}
            check(f"flood of {name}", set(counts) <= allowed, f"{counts}")
            check(f"flood of {name}", counts.get("subscribed", 0) <= SUBSCRIPTIONS, f"{counts}")
            check(f"flood of {name}", await connection.is_alive(), "the connection does not go on")


async def slow_reader(api, slow, ada, bob, check):
    """A reader that does not read is closed with 1013, while others get everything."""
    subscribe = text({"type": "subscribe", "channel": "room:slow"})
    count = 160
    async with (
        await connect(api, slow, receive_buffer=4096) as reader,
        await connect(api, bob) as fast,
        await connect(api, ada) as publisher,
    ):
        for connection in (reader, fast, publisher):
            await connection.send(subscribe)
            await connection.answer()
        numbers = []

        async def read_fast():
            while len(numbers) < count:
                found = await fast.json()
                numbers.append(found["data"]["content"]["number"])

        task = asyncio.create_task(read_fast())
        for number in range(count):
            data = {"number": number, "fill": "x" * 60_000}
            await publisher.send(text({"type": "message", "channel": "room:slow", "data": data, "id": str(number)}))
            answer = await publisher.answer()
            if answer != "ack":
                check("publishing to a slow reader", False, f"{answer} for message {number}")
            await asyncio.sleep(0.025)
        with contextlib.suppress(TimeoutError, Fault, OSError, EOFError):
            await asyncio.wait_for(task, 10)
        check("a fast reader beside a slow one", numbers == list(range(count)), f"got {len(numbers)} of {count} messages")
        found = await reader.end(20)
        check("a slow reader", found == 1013, f"{found}, expected 1013")


async def check_loads(api, hostile, ada, bob, check):
    await subscriptions(api, hostile, check)
    await floods(api, hostile, check)
    await slow_reader(api, hostile, ada, bob, check)
