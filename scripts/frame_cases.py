"""What frames.py sends, and which answers are right."""

import json
import random

from frame_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close, frame, text

LIMIT = 65_536
NESTED = b"[" * 20_000 + b"]" * 20_000


def handshakes(token):
    """Name, query, headers, allowed statuses."""
    query = f"token={token}"
    return [
        ("handshake without a key", query, {"Sec-WebSocket-Key": None}, {400}),
        ("handshake of version 8", query, {"Sec-WebSocket-Version": "8"}, {400, 426}),
        ("handshake without an upgrade", query, {"Upgrade": None, "Connection": None}, {400, 426}),
        ("handshake that upgrades to h2c", query, {"Upgrade": "h2c"}, {400, 426}),
        ("handshake from a foreign page", query, {"Origin": "https://evil.example"}, {403}),
        ("handshake from a file", query, {"Origin": "null"}, {403}),
    ]


def closings():
    """Name, bytes, allowed close codes."""
    begin = frame(TEXT, b'{"type":', fin=False)
    ping = json.dumps({"type": "ping"}).encode()
    invalid = b'{"type":"\xc3\x28"}'
    found = [
        ("text without a mask", frame(TEXT, ping, mask=False), {1002}),
        ("ping without a mask", frame(PING, mask=False), {1002}),
        ("close without a mask", frame(CLOSE, b"\x03\xe8", mask=False), {1002}),
        ("ping of 126 bytes", frame(PING, b"x" * 126), {1002}),
        ("pong of 126 bytes", frame(PONG, b"x" * 126), {1002}),
        ("close of 126 bytes", frame(CLOSE, b"\x03\xe8" + b"x" * 124), {1002}),
        ("ping that claims 2^62 bytes", frame(PING, length=1 << 62, width=64), {1002, 1009}),
        ("fragmented ping", frame(PING, b"x", fin=False), {1002}),
        ("fragmented close", frame(CLOSE, b"\x03\xe8", fin=False), {1002}),
        ("continuation without a start", frame(CONTINUATION, ping), {1002}),
        ("unfinished continuation without a start", frame(CONTINUATION, ping, fin=False), {1002}),
        ("continuation after the end", begin + frame(CONTINUATION, b'"ping"}') + frame(CONTINUATION, b"x"), {1002}),
        ("text within a text", begin + text(ping), {1002}),
        ("binary within a text", begin + frame(BINARY, b"x"), {1002}),
        ("close of one byte", frame(CLOSE, b"\x03"), {1002}),
        ("close with a reason that is not UTF-8", close(1000, b"\xff\xfe"), {1007, 1002}),
        ("text that is not UTF-8", text(invalid), {1007}),
        ("text with an overlong form", text(b'"\xc0\xaf"'), {1007}),
        ("text with an encoded surrogate", text(b'"\xed\xa0\x80"'), {1007}),
        ("text beyond U+10FFFF", text(b'"\xf4\x90\x80\x80"'), {1007}),
        ("text that ends within a character", text(b'"\xe2\x82'), {1007}),
        ("fragments that are not UTF-8", frame(TEXT, invalid[:10], fin=False) + frame(CONTINUATION, invalid[10:]), {1007}),
        ("text of one byte too many", text(b'"' + b"x" * (LIMIT - 1) + b'"'), {1009}),
        ("fragments of one byte too many", frame(TEXT, b"x" * LIMIT, fin=False) + frame(CONTINUATION, b"x"), {1009}),
        ("binary of one byte too many", frame(BINARY, b"x" * (LIMIT + 1)), {1009}),
        ("text that claims 1 GiB", frame(TEXT, b"x", length=1 << 30), {1009}),
        ("text that claims 2^62 bytes", frame(TEXT, b"x", length=1 << 62), {1009}),
        ("text that claims 2^63 bytes", frame(TEXT, b"x", length=1 << 63), {1002, 1009}),
        ("many fragments", b"".join([begin, *[frame(CONTINUATION, b"x" * 700, fin=False)] * 100]), {1009}),
        ("token that is not one", text({"type": "auth", "token": "x"}), {1008}),
        ("close without a code", frame(CLOSE), {1000, 1005}),
        ("close with a reason", close(1001, "auf Wiedersehen, schön".encode()), {1000, 1001}),
        ("close with the longest reason", close(1000, b"x" * 123), {1000}),
        ("two closes", close(1000) + close(1001), {1000}),
    ]
    # The answer to the text and the one to the close frame may hinder each other.
    found += [(f"close right after a request, number {number}", text(ping) + close(1000), {1000}) for number in range(20)]
    found += [(f"reserved bit {rsv}", frame(TEXT, ping, rsv=rsv), {1002}) for rsv in (1, 2, 4, 7)]
    found += [("reserved bit of a ping", frame(PING, rsv=4), {1002})]
    found += [(f"opcode {opcode}", frame(opcode, ping), {1002}) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)]
    bad = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    found += [(f"close code {code}", close(code), {1002}) for code in bad]
    good = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    found += [(f"close code {code}", close(code), {code, 1000}) for code in good]
    return found


def openings():
    """Name, bytes, allowed answers; without one, nothing but pongs may come. All on one connection."""
    ping = b'{"type":"ping"}'
    padded = ping[:-1] + b" " * (LIMIT - len(ping)) + b"}"
    pieces = [
        frame(TEXT, ping[:3], fin=False),
        frame(PING, b"x"),
        frame(CONTINUATION, b"", fin=False),
        frame(PONG),
        frame(CONTINUATION, ping[3:]),
    ]
    found = [
        ("text of exactly the limit", text(padded), {"pong"}),
        ("fragments with control frames between", b"".join(pieces), {"pong"}),
        ("fragments within a character", frame(TEXT, b'"\xe2', fin=False) + frame(CONTINUATION, b'\x82\xac"'), {"INVALID_REQUEST"}),
        ("unsolicited pong", frame(PONG, b"x" * 125), None),
        ("ping of 125 bytes", frame(PING, b"x" * 125), None),
        ("empty ping", frame(PING), None),
        ("binary", frame(BINARY, ping), {"INVALID_REQUEST"}),
        ("empty binary", frame(BINARY), {"INVALID_REQUEST"}),
        ("fragmented binary", frame(BINARY, b"\xff", fin=False) + frame(CONTINUATION, b"\xfe"), {"INVALID_REQUEST"}),
    ]
    invalid = [
        "",
        " ",
        "{",
        "{}x",
        "{'type':'ping'}",
        '{"type":"ping",}',
        "NaN",
        '{"type":"ping"} {}',
        "\ufeff{}",
        "\0",
        '{"a":1e999}',
        '"\t"',
    ]
    invalid += [r'{"type":"\ud800"}', r'{"type":"message","channel":"room:x","data":"\udc00\ud800"}', '{"type":"subscribe","channel":"\0"}']
    # A parser may keep what it does not need as it is, and then sees no fault in it.
    lenient = {'{"a":1e999}': {"INVALID_JSON", "UNKNOWN_EVENT"}, invalid[-2]: {"INVALID_JSON", "INVALID_REQUEST", "NOT_SUBSCRIBED"}}
    found += [(f"invalid {value!r}", text(value), lenient.get(value, {"INVALID_JSON"})) for value in invalid]
    found += [(f"no object: {value}", text(value), {"INVALID_REQUEST"}) for value in ("[]", "1", "null", '"x"', "true")]
    nested = {"INVALID_JSON", "INVALID_REQUEST", "NOT_SUBSCRIBED"}
    found += [("nested arrays", text(NESTED), nested)]
    found += [("nested data", text(b'{"type":"message","channel":"room:x","data":' + NESTED + b"}"), nested)]
    found += [("nested objects", text(b'{"a":' * 8000 + b"1" + b"}" * 8000), {"INVALID_JSON", "UNKNOWN_EVENT"})]
    found += [("equal keys", text('{"type":"ping","type":"ping"}'), {"pong", "INVALID_JSON", "INVALID_REQUEST"})]
    values = [
        ({}, "UNKNOWN_EVENT"),
        ({"type": None}, "UNKNOWN_EVENT"),
        ({"type": 5}, "UNKNOWN_EVENT"),
        ({"type": ["ping"]}, "UNKNOWN_EVENT"),
        ({"type": "PING"}, "UNKNOWN_EVENT"),
        ({"type": "connected"}, "UNKNOWN_EVENT"),
        ({"type": "x" * 60_000}, "UNKNOWN_EVENT"),
        ({"type": "auth"}, "INVALID_REQUEST"),
        ({"type": "subscribe"}, "INVALID_REQUEST"),
        ({"type": "subscribe", "channel": ""}, "INVALID_REQUEST"),
        ({"type": "subscribe", "channel": None}, "INVALID_REQUEST"),
        ({"type": "subscribe", "channel": ["room:x"]}, "INVALID_REQUEST"),
        ({"type": "unsubscribe"}, "INVALID_REQUEST"),
        ({"type": "subscribe", "channel": "a b"}, "INVALID_CHANNEL"),
        ({"type": "subscribe", "channel": "a\0b"}, "INVALID_CHANNEL"),
        ({"type": "subscribe", "channel": "é"}, "INVALID_CHANNEL"),
        ({"type": "subscribe", "channel": "a*"}, "INVALID_CHANNEL"),
        ({"type": "subscribe", "channel": "x" * 129}, "INVALID_CHANNEL"),
        ({"type": "message", "channel": "a b", "data": 1}, "INVALID_CHANNEL"),
        ({"type": "subscribe", "channel": "x" * 128}, "subscribed"),
        ({"type": "unsubscribe", "channel": "x" * 128}, "unsubscribed"),
        ({"type": "unsubscribe", "channel": "room:never-joined"}, "unsubscribed"),
        ({"type": "subscribe", "channel": "user:somebody-else"}, "FORBIDDEN"),
        ({"type": "subscribe", "channel": "project:00000000-0000-0000-0000-000000000000"}, "FORBIDDEN"),
        ({"type": "subscribe", "channel": "project:' OR 1=1 --".replace(" ", "").replace("'", "").replace("=", "")}, "FORBIDDEN"),
        ({"type": "subscribe", "channel": "admin"}, "FORBIDDEN"),
        ({"type": "subscribe", "channel": "admin:jobs"}, "FORBIDDEN"),
        ({"type": "message", "channel": "system", "data": 1}, "FORBIDDEN"),
        ({"type": "message", "channel": "broadcast", "data": 1}, "FORBIDDEN"),
        ({"type": "message", "channel": "user:somebody-else", "data": 1}, "FORBIDDEN"),
        ({"type": "message", "channel": "room:never-joined", "data": 1}, "NOT_SUBSCRIBED"),
        ({"type": "message", "channel": "room:x"}, "INVALID_REQUEST"),
        ({"type": "message", "channel": "room:x", "data": None}, "INVALID_REQUEST"),
        ({"type": "message", "data": 1}, "INVALID_REQUEST"),
        ({"type": "subscribe", "channel": "room:ids"}, "subscribed"),
        ({"type": "message", "channel": "room:ids", "data": 0, "id": "x" * 64}, "ack"),
        ({"type": "message", "channel": "room:ids", "data": "\0\x7f\u2028", "id": "1"}, "ack"),
        ({"type": "message", "channel": "room:ids", "data": False, "id": "x" * 65}, "INVALID_REQUEST"),
    ]
    return found + [(f"value {json.dumps(value)[:60]}", text(value), {answer}) for value, answer in values]


# A mutated frame may leave the connection open, or be a valid close frame, or break a rule.
MUTATED = {None, 1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1012, 1013, 1014, *range(3000, 5000)}


def mutated(seed):
    """Bytes of a few valid frames with a few changes, and the size of the pieces that they are sent in."""
    chance = random.Random(seed)
    ping = b'{"type":"ping"}'
    corpus = [
        lambda: text({"type": "subscribe", "channel": f"room:{chance.randrange(9)}"}),
        lambda: text({"type": "message", "channel": f"room:{chance.randrange(9)}", "data": {"a": [1, None, "é"]}, "id": "1"}),
        lambda: text(ping),
        lambda: frame(PING, chance.randbytes(chance.randrange(126))),
        lambda: frame(PONG, chance.randbytes(chance.randrange(126))),
        lambda: frame(TEXT, ping[:5], fin=False) + frame(CONTINUATION, ping[5:]),
        lambda: frame(BINARY, chance.randbytes(chance.randrange(300))),
        lambda: frame(chance.randrange(16), chance.randbytes(chance.randrange(200)), chance.random() < 0.8, chance.choice([0, 0, 0, 1, 4])),
        lambda: (
            frame(TEXT, ping, length=chance.choice([0, 5, 126, 65_536, 1 << 31, 1 << 63]), width=64)
            if chance.random() < 0.5
            else close(chance.choice([1000, 1001, 3000]))
        ),
    ]
    state = random.getstate()
    random.seed(seed)  # for the masks
    data = bytearray(b"".join(chance.choice(corpus)() for _ in range(chance.randint(1, 6))))
    random.setstate(state)
    for _ in range(chance.choice([0, 1, 1, 2, 4, 16])):
        at = chance.randrange(len(data) + 1)
        span = chance.choice([1, 1, 2, 8, 64])
        change = chance.randrange(5)
        if change == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif change == 1:
            del data[at : at + span]
        elif change == 2:
            data[at:at] = chance.randbytes(span)
        elif change == 3:
            data[at:at] = data[:span]
        else:
            data[at : at + span] = chance.choice([b"\0", b"\xff", b"\x7f", b"\x80"]) * span
    return bytes(data), chance.choice([None, None, 1, 7, 100])
