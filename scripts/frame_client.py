"""A WebSocket client that can break every rule of RFC 6455, for frames.py."""

import asyncio
import base64
import contextlib
import functools
import json
import os
import random
import socket
import urllib.parse

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
# Longest wait in seconds for an answer of the server.
PATIENCE = 10
KEYS = {"type", "data", "timestamp", "channel"}


class Fault(Exception):
    """The server broke a rule."""


def frame(opcode, payload=b"", fin=True, rsv=0, mask=True, length=None, width=None):
    """Bytes of a frame. `length` is what the header claims, `width` the bits of that field: 7, 16 or 64."""
    length = len(payload) if length is None else length
    width = width or (7 if length < 126 else 16 if length < 1 << 16 else 64)
    head = bytes([fin << 7 | rsv << 4 | opcode])
    short = {7: length, 16: 126, 64: 127}[width]
    head += bytes([mask << 7 | short])
    if width > 7:
        head += length.to_bytes(width // 8, "big")
    if not mask:
        return head + payload
    key = random.randbytes(4)
    return head + key + masked(payload, key)


def masked(payload, key):
    stream = int.from_bytes((key * (len(payload) // 4 + 1))[: len(payload)], "big")
    return (int.from_bytes(payload, "big") ^ stream).to_bytes(len(payload), "big")


def text(value):
    """A text frame: of an object as JSON, of a string or bytes as they are."""
    if not isinstance(value, str | bytes):
        value = json.dumps(value)
    return frame(TEXT, value.encode() if isinstance(value, str) else value)


def close(code, reason=b""):
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


class Connection:
    """A connection, from `connect`. Closes at the end of an `async with` block."""

    def __init__(self, raw):
        self.raw = raw
        self.buffer = bytearray()
        self.sending = asyncio.Lock()  # a pong must not come between the pieces of another frame
        self.pongs = True  # answer pings
        self.awaited = b""  # `end` stops at this pong

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.raw.close()

    async def send(self, data, size=None):
        """Sends bytes, in pieces of `size`. A connection that the server has closed meanwhile shows when it is read."""
        size = size or max(len(data), 1)
        async with self.sending:
            await self.send_pieces(data, size)

    async def send_pieces(self, data, size):
        with contextlib.suppress(OSError):
            for start in range(0, len(data), size):
                await asyncio.get_running_loop().sock_sendall(self.raw, data[start : start + size])
                await asyncio.sleep(0)  # while the socket takes everything, nothing else would run

    async def take(self, count):
        """Returns this many bytes. What came before a reset is read all the same, so streams of asyncio are not used."""
        while len(self.buffer) < count:
            data = await asyncio.get_running_loop().sock_recv(self.raw, 1 << 16)
            if not data:
                raise EOFError
            self.buffer += data
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    async def read(self):
        """Returns opcode and payload of the next frame."""
        first, second = await self.take(2)
        opcode, length = first & 15, second & 127
        if first & 0xF0 != 0x80:
            raise Fault(f"the server sent a frame that begins with {first:#x}: fragmented, or with reserved bits")
        if second & 128:
            raise Fault("the server sent a masked frame")
        if length > 125:
            length = int.from_bytes(await self.take(2 if length == 126 else 8), "big")
        payload = await self.take(length)
        if opcode == PING and self.pongs:
            await self.send(frame(PONG, payload))
        return opcode, payload

    async def json(self):
        """Returns the next data frame as an object."""
        while True:
            opcode, payload = await self.read()
            if opcode == CLOSE:
                raise Fault(f"closed with {int.from_bytes(payload[:2], 'big')} {payload[2:]!r}")
            if opcode in (PING, PONG):
                continue
            found = json.loads(payload.decode()) if opcode == TEXT else None
            if not isinstance(found, dict) or set(found) != KEYS:
                raise Fault(f"the server sent {payload[:200]!r}")
            return found

    async def answer(self):
        """Returns the code of the next error, or the type of the next frame that is none."""
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self.json()
        except TimeoutError:
            raise Fault("no answer") from None
        except (EOFError, OSError) as error:
            raise Fault(f"the connection broke: {error!r}") from None
        return found["data"]["code"] if found["type"] == "error" else found["type"]

    async def end(self, patience=PATIENCE):
        """Returns the close code of the server, then closes as well. `None`: it does not close in time."""
        try:
            async with asyncio.timeout(patience):
                opcode, payload = await self.read()
                while opcode != CLOSE:
                    if opcode == PONG and payload == self.awaited != b"":
                        return None
                    opcode, payload = await self.read()
        except TimeoutError:
            return None
        except EOFError:
            return "end without a close frame"
        except OSError:
            return "reset without a close frame"
        await self.send(frame(CLOSE, payload))
        try:
            async with asyncio.timeout(patience):
                # Nothing may follow a close frame, and the server ends the connection first (RFC 6455, 7.1.1).
                await self.take(1)
                return "data after a close frame"
        except TimeoutError:
            return "close frame, but the connection stays"
        except (EOFError, OSError):
            pass
        return int.from_bytes(payload, "big") if len(payload) == 2 else int.from_bytes(payload[:2], "big") if payload else 1005

    async def outcome(self):
        """Returns `None` if the connection goes on, or waits for the rest of a frame; else the same as `end`."""
        data = os.urandom(8)
        await self.send(frame(PING, data))
        self.awaited = data
        return await self.end(0.3)

    async def is_alive(self):
        """The connection answers a ping of the protocol and one of the API."""
        data = os.urandom(4)
        await self.send(frame(PING, data) + text({"type": "ping"}))
        got = set()
        with contextlib.suppress(EOFError, OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while len(got) < 2:
                    opcode, payload = await self.read()
                    if opcode == CLOSE:
                        break
                    if (opcode, payload) == (PONG, data):
                        got.add("protocol")
                    if opcode == TEXT and json.loads(payload)["type"] == "pong":
                        got.add("API")
        return len(got) == 2


def head(api, query, **headers):
    """Bytes of the handshake; headers replace the usual ones, and `None` leaves one out."""
    url = urllib.parse.urlsplit(api)
    usual = {
        "Host": url.netloc,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    lines = [f"{name}: {value}" for name, value in {**usual, **headers}.items() if value is not None]
    return "\r\n".join([f"GET {url.path}/app/ws?{query} HTTP/1.1", *lines, "", ""]).encode()


@functools.cache
def address_of(api):
    url = urllib.parse.urlsplit(api)
    return socket.getaddrinfo(url.hostname, url.port or 80, type=socket.SOCK_STREAM, family=socket.AF_INET)[0][4]


async def tcp(api, receive_buffer=None):
    """A bare connection to the server. A small receive buffer makes a slow reader."""
    raw = socket.socket()
    raw.setblocking(False)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receive_buffer:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await asyncio.get_running_loop().sock_connect(raw, address_of(api))
    return Connection(raw)


async def shake(connection, request, size=None):
    """Sends a handshake; returns the status, 0 without an answer, and the head of the answer in lower case."""
    await connection.send(request, size)
    answer = b""
    try:
        async with asyncio.timeout(PATIENCE):
            while not answer.endswith(b"\r\n\r\n"):
                answer += await connection.take(1)
    except (TimeoutError, EOFError, OSError) as error:
        return 0, repr(error)
    answer = answer.decode().lower()
    return int(answer.split(" ", 2)[1]), answer


async def connect(api, token, size=None, receive_buffer=None):
    """Connects as a user, and reads the frame `connected`."""
    connection = await tcp(api, receive_buffer)
    status, answer = await shake(connection, head(api, "token=" + urllib.parse.quote(token)), size)
    if status != 101 or "sec-websocket-extensions" in answer:
        raise Fault(f"handshake: {answer}")
    found = await connection.answer()
    if found != "connected":
        raise Fault(f"{found} instead of connected")
    return connection
