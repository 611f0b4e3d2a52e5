"""Runs the checks of realtime.sh: two instances over one Redis and one database, clients in Node and Chromium, hostile frames."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from browser import Browser, chromedriver, expect, ready, serve_pages

SCRIPTS = pathlib.Path(__file__).resolve().parent
USERS = ("ada", "bob", "cyd", "dan", "eve")
# Life in seconds of a token that ends during the stories. The server gives notice 60 s before the end.
SHORT_TTL = 65


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    """A process on a port of its own that can be stopped and started again."""

    def __init__(self, command, folder, name, variables):
        self.port = free_port()
        self.command = [part.format(port=self.port) for part in command]
        self.folder = folder
        self.log = pathlib.Path(folder, name + ".log")
        self.variables = {**variables, "PORT": str(self.port)}
        self.process = None

    def start(self):
        log = self.log.open("wb")
        with log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.wait()

    def wait(self):
        """Waits until the port answers."""
        end = time.monotonic() + 30
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise AssertionError(f"{self.command[0]} did not get ready:\n{self.log.read_text()}")

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.command[0]} did not stop within 30 s") from None
        finally:
            self.process = None


class Instance(Service):
    """An instance of the server."""

    def wait(self):
        ready(self.process, self.log)

    @property
    def api(self):
        return f"http://localhost:{self.port}/api/v1"


class Cluster:
    """Two instances of the server, a and b, with their Redis and users; for a `with` block."""

    def __init__(self, binary, folder, origin):
        environment = {"PATH": os.environ["PATH"], "HOME": folder}
        redis = ["redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.redis = Service(redis, folder, "redis", environment)
        self.binary = binary
        self.folder = folder
        self.variables = {
            **environment,
            "AUTH_PROVIDER": "local",
            "BACKEND_CORS_ORIGINS": origin,
            "DATABASE_URL": f"sqlite:///{folder}/realtime.db",
            "PLAN_LIMITS_ENABLED": "false",
            "RATE_LIMIT_ADDRESS": "1000000/second",
            "RATE_LIMIT_ENABLED": "false",
            "REDIS_URL": f"redis://127.0.0.1:{self.redis.port}",
            "SHUTDOWN_GRACE_SECONDS": "6",
            "WS_PING_INTERVAL": "2",
        }
        self.a, self.b = (Instance([binary], folder, name, self.variables) for name in "ab")
        self.passwords = {}

    def __enter__(self):
        try:
            self.redis.start()
            for user in USERS:
                made = self.run("users", "create", f"{user}@example.com")
                self.passwords[user] = re.search(r"^password: (.+)$", made, re.MULTILINE)[1]
            self.a.start()
            self.b.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for service in (self.a, self.b, self.redis):
            if service.process:
                service.process.kill()
                service.process.wait()

    def run(self, *arguments, **variables):
        environment = {**self.variables, **variables}
        done = subprocess.run(
            [self.binary, *arguments], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        expect(done.returncode == 0, f"{arguments}: {done.stderr}")
        return done.stdout

    def token(self, user, **variables):
        return self.run("token", "--email", f"{user}@example.com", **variables).strip()

    def do(self, words):
        """Obeys a line of realtime_client.mjs: `token ada`, `short-token ada`, `stop a`, `start redis`."""
        verb, name = words.split()
        if verb == "token":
            return self.token(name)
        if verb == "short-token":
            return self.token(name, AUTH_ACCESS_TTL_SECONDS=str(SHORT_TTL))
        service = {"a": self.a, "b": self.b, "redis": self.redis}[name]
        {"start": service.start, "stop": service.stop}[verb]()
        return "done"


def check_node(cluster, compiled):
    """Runs the stories of realtime_client.mjs, and does what it asks for."""
    command = ["node", str(SCRIPTS / "realtime_client.mjs"), str(compiled / "realtime.js"), cluster.a.api, cluster.b.api]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        for line in process.stdout:
            if line.startswith("ask "):
                process.stdin.write(cluster.do(line[4:].strip()) + "\n")
                process.stdin.flush()
            else:
                print(line, end="", flush=True)
        expect(process.wait() == 0, f"realtime_client.mjs ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()


def log_in(browser, page, api, user, password):
    browser.open(page)
    for field, text in (("api", api), ("email", f"{user}@example.com"), ("password", password), ("channel", "room:page")):
        browser.fill(field, text)
    browser.click("connect")
    browser.wait_for("document.getElementById('status').textContent === 'Connected to room:page'", f"the log-in of {user}")


def say(sender, receiver, text):
    """A message arrives once in the other window, as text."""
    sender.fill("text", text)
    sender.click("send")
    for window in (sender, receiver):
        window.wait_for(f"[...document.querySelectorAll('#log li')].at(-1)?.textContent.endsWith({json.dumps(': ' + text)})", text)


def create_project(cluster, instance, user, name):
    headers = {"Authorization": f"Bearer {cluster.token(user)}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{instance.api}/app/projects", json.dumps({"name": name}).encode(), headers)
    urllib.request.urlopen(request, timeout=30).close()


def check_page(cluster, page, pictures):
    """Two windows at different instances: a message each way, an event, and both again after a restart."""
    created = "document.getElementById('event').textContent.endsWith(' created')"
    with chromedriver() as driver:
        windows = []
        try:
            windows += [Browser(driver)]
            windows += [Browser(driver)]
            ada, bob = windows
            for window, api, user in ((ada, cluster.a.api, "ada"), (bob, cluster.b.api, "bob")):
                window.set_screen(480, 720, "light")
                log_in(window, page, api, user, cluster.passwords[user])
            say(ada, bob, "Hello, Bob")
            say(bob, ada, "<img src=x onerror='window.hacked = 1'>")
            for window in windows:
                expect(
                    window.run("return [document.querySelectorAll('#log li').length, document.images.length].join()") == "2,0", "two texts"
                )
            create_project(cluster, cluster.b, "ada", "Seen at once")
            ada.wait_for(created, "the event of a project that was made on the other instance")
            print("realtime.html: a message each way between two instances, and an event", flush=True)

            ada.run("document.getElementById('event').textContent = ''")
            cluster.a.stop()
            ada.wait_for("document.getElementById('status').textContent.startsWith('Connection lost')", "the end of the connection")
            create_project(cluster, cluster.b, "ada", "Made meanwhile")
            cluster.a.start()
            ada.wait_for("document.getElementById('status').textContent === 'Connected to room:page'", "the reconnect")
            say(bob, ada, "Hello again")
            ada.wait_for(created, "the event that was missed")
            print("realtime.html: reconnects after a restart, and gets the event that it missed", flush=True)
            for name, window in (("ada", ada), ("bob", bob)):
                if pictures:
                    window.save_picture(pathlib.Path(pictures, f"realtime-{name}.png"))
                errors = [error for error in window.errors() if "ERR_CONNECTION" not in error and "WebSocket" not in error]
                expect(errors == [], f"errors in the console: {errors}")
        finally:
            for window in windows:
                window.call("DELETE", "")


# Starts the client of events.ts in a page. `seen` gets the names of projects, and `end`.
LISTEN = """
    window.token = TOKEN;
    window.seen = [];
    import("./events.js").then(({ listen }) => listen({
      base: BASE,
      getToken: async () => token,
      onEvent: ({ data }) => seen.push(data.data.name),
      onResync: () => seen.push("resync"),
      onEnd: () => seen.push("end"),
    }));
"""


def check_events(cluster, page):
    """Each event comes once, over a restart of the instance and the end of a session, until there is no other token."""
    with chromedriver() as driver:
        browser = Browser(driver)

        def seen(*wanted):
            browser.wait_for(f"seen.join() === {json.dumps(','.join(wanted))}", f"the events {wanted}")

        def restart(name):
            cluster.a.stop()
            if name:
                create_project(cluster, cluster.b, "dan", name)
            cluster.a.start()

        try:
            token = cluster.token("dan")
            browser.open(page)
            browser.run(LISTEN.replace("TOKEN", json.dumps(token)).replace("BASE", json.dumps(cluster.a.api)))
            time.sleep(1)  # until it listens
            create_project(cluster, cluster.b, "dan", "first")
            seen("first")
            restart("second")
            seen("first", "second")
            log_out(cluster, token)
            token = cluster.token("dan")
            browser.run(f"token = {json.dumps(token)}")
            restart("third")  # the reconnect is refused, because the session of the ticket has ended
            seen("first", "second", "third")
            log_out(cluster, token)
            restart(None)
            seen("first", "second", "third", "end")
            print("events.ts: each event once, over restarts and the end of a session", flush=True)
        finally:
            browser.call("DELETE", "")


def log_out(cluster, token):
    request = urllib.request.Request(f"{cluster.b.api}/app/auth/logout-all", method="POST", headers={"Authorization": f"Bearer {token}"})
    urllib.request.urlopen(request, timeout=30).close()


def check_frames(cluster):
    command = [sys.executable, str(SCRIPTS / "frames.py"), cluster.a.api, *(cluster.token(user) for user in ("eve", "ada", "bob"))]
    command += ["--seconds", os.environ.get("FRAMES_SECONDS", "20"), "--seed", os.environ.get("FRAMES_SEED", "1"), "--ping-interval", "2"]
    expect(subprocess.run(command, stdin=subprocess.DEVNULL).returncode == 0, "frames.py found faults")


def main():
    compiled, *pictures = map(pathlib.Path, sys.argv[1:])
    origin = serve_pages(compiled)
    with tempfile.TemporaryDirectory() as folder:
        try:
            with Cluster(os.path.abspath(os.environ["OMNISTACK"]), folder, origin) as cluster:
                check_node(cluster, compiled)
                if shutil.which("chromium") and shutil.which("chromedriver"):
                    check_events(cluster, origin + "/realtime.html")
                    check_page(cluster, origin + "/realtime.html", *pictures or [None])
                check_frames(cluster)
        except BaseException:
            for log in sorted(pathlib.Path(folder).glob("[ab].log")):
                print(f"--- end of {log.name}", *log.read_text(errors="replace").splitlines()[-20:], sep="\n", file=sys.stderr)
            raise


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends what was started
    try:
        main()
    except AssertionError as failure:
        sys.exit(f"failed: {failure}")
