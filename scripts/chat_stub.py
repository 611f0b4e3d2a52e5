"""Stub of the API for chat.py: what a prompt asks for is what it answers, as docs/ai.md describes it."""

import http.server
import json
import threading
import time

LONG = "a long answer"


def pieces(*texts):
    return b"".join(b"data: " + text.encode() + b"\n\n" for text in texts)


def envelope(code, message, **details):
    return {"error": {"code": code, "message": message, "details": details, "request_id": "stub-1"}}


DONE = pieces("[DONE]")
EMOJI = "héllo 你好 👩‍🚀"
VENDOR = ("EXTERNAL_SERVICE_ERROR", "The AI provider failed")
LIMIT = envelope("PLAN_LIMIT_EXCEEDED", "used up", feature="ai_requests", limit=50, used=50, resets_at="2031-02-01T00:00:00Z")


class Stub:
    """Runs the stub on a free port, for a `with` block."""

    # Prompt → chunks of the body; each chunk is written by itself.
    STREAMS = {
        "words": [pieces("one"), pieces(" two"), pieces(" three"), DONE],
        "line breaks": [b"data: a\ndata:\ndata: b\n\n", b"data:   indented\n\n", DONE],
        "comments": [b": keep-alive\n\n", pieces("x"), b":\n\n:more\n", b"event: other\ndata: no\n\nid: 7\nretry: 1\n\n", pieces("y"), DONE],
        "line ends": [b"data: a\r", b"\ndata: a\r", b"\n\r", b"\ndata:b\r\rdata: c\r\n\r\n", DONE],
        "single bytes": [bytes([byte]) for byte in pieces(EMOJI) + DONE],
        "done as text": [pieces("[DONE", "]"), DONE],
        "markup": [pieces("<img src=x onerror='window.hacked = 1'><script>window.hacked = 1</script>"), DONE],
        "error in the middle": [
            pieces("half"),
            b"event: error\ndata: " + json.dumps(envelope(*VENDOR, service="openai", reason="timeout")).encode() + b"\n\n",
        ],
        "end in the middle": [pieces("half"), b"data: lost"],
        "cut in the middle": [pieces("half"), None],
    }
    ANSWERS = {
        "words": "one two three",
        "line breaks": "a\n\nb  indented",
        "comments": "xy",
        "line ends": "a\nabc",
        "single bytes": EMOJI,
        "done as text": "[DONE]",
        "markup": "<img src=x onerror='window.hacked = 1'><script>window.hacked = 1</script>",
    }
    # Prompt → status, body, Retry-After.
    REFUSALS = {
        "no quota": (403, LIMIT, None),
        "too fast": (429, envelope("RATE_LIMIT_EXCEEDED", "Too many requests", retry_after=7), 7),
        "vendor failed": (502, envelope(*VENDOR, service="openai", reason="unavailable"), None),
        "vendor's limit": (502, envelope(*VENDOR, service="openai", reason="quota"), 20),
        "too long": (502, envelope(*VENDOR, service="openai", reason="context_too_long"), None),
        "switched off": (503, envelope("SERVICE_UNAVAILABLE", "No AI provider is configured"), None),
        "bad field": (422, envelope("VALIDATION_ERROR", "must not be empty", field="messages.0.content", errors=[]), None),
        "a proxy": (504, "<html>Gateway Time-out</html>", None),
    }
    # Prompt → text of the answer, part of the alert.
    ERRORS = {
        "error in the middle": ("half", "The model did not answer in time."),
        "end in the middle": ("half", "The connection ended before the answer did."),
        "cut in the middle": ("half", "The connection ended before the answer did."),
        "no quota": ("", "The 50 AI requests of your plan are used up. You can go on from "),
        "too fast": ("", "Too many requests. Try again in 7 s. (request stub-1)"),
        "vendor failed": ("", "The model's vendor has a problem."),
        "vendor's limit": ("", "The vendor's limit is reached. Try again in 20 s."),
        "too long": ("", "Start a new one."),
        "switched off": ("", "AI is not available at the moment."),
        "bad field": ("", "messages.0.content: must not be empty"),
        "a proxy": ("", "status 504"),
    }
    LONG_LENGTH = 200 * len("word ")

    def __init__(self):
        self.token = "token-0"
        self.refreshed = 0
        self.last = {}  # body of the newest request to a model
        self.left = threading.Event()  # set when a client left in the middle of the long answer
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"stub": self}))
        self.server.daemon_threads = True
        self.url = f"http://localhost:{self.server.server_port}/api/v1"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_OPTIONS(self):
        self.send_response(204)
        self.send_header("Access-Control-Allow-Methods", "POST")
        self.send_header("Access-Control-Allow-Headers", self.headers["Access-Control-Request-Headers"])
        self.allow_origin()
        self.end_headers()

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.removeprefix("/api/v1")
        if path == "/public/auth/login":
            self.log_in(body["password"] == "the right password", "Invalid email or password")
        elif path == "/public/auth/refresh":
            self.stub.refreshed += 1
            self.log_in(body["refresh_token"] == "refresh-token", "The session has ended")
        elif self.headers["Authorization"] != f"Bearer {self.stub.token}":
            self.answer(401, envelope("AUTHENTICATION_ERROR", "The token has expired"))
        else:
            self.stub.last = body
            assert body["stream"] is True
            self.complete(body["prompt"] if path == "/app/ai/chat" else body["messages"][-1]["content"])

    def log_in(self, right, refusal):
        if not right:
            self.answer(401, envelope("AUTHENTICATION_ERROR", refusal))
            return
        self.stub.token = f"token-{self.stub.refreshed}"
        self.answer(200, {"access_token": self.stub.token, "refresh_token": "refresh-token", "expires_in": 900})

    def complete(self, prompt):
        if prompt in self.stub.REFUSALS:
            self.answer(*self.stub.REFUSALS[prompt])
        elif prompt == LONG:
            self.stream((pieces("word ") for _ in range(200)), 0.02)
        else:
            self.stream(self.stub.STREAMS.get(prompt, [pieces("You said:", f" {prompt}"), DONE]), 0.005)

    def allow_origin(self):
        self.send_header("Access-Control-Allow-Origin", self.headers["Origin"])
        self.send_header("Access-Control-Expose-Headers", "Retry-After")

    def answer(self, status, body, retry_after=None):
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.allow_origin()
        self.send_header("Content-Length", str(len(data)))
        if retry_after:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, chunks, pause):
        """Sends the chunks one by one; `None` breaks the connection."""
        self.protocol_version = "HTTP/1.1"
        self.close_connection = True
        self.send_response(200)
        self.allow_origin()
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for chunk in chunks:
                if chunk is None:
                    time.sleep(0.3)  # a browser drops what it has not handed on yet
                    return
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                time.sleep(pause)
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.stub.left.set()
