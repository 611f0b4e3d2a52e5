"""What the checks in a browser share: a session of headless Chromium, the server under test, and a server of pages."""

import base64
import contextlib
import functools
import http.server
import json
import pathlib
import re
import subprocess
import threading
import time
import urllib.error
import urllib.request

# Longest wait for anything that a page shows.
PATIENCE = 15
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """A session of headless Chromium, by the WebDriver protocol (https://www.w3.org/TR/webdriver2/)."""

    def __init__(self, driver):
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        wanted = {"browserName": "chrome", "goog:chromeOptions": {"args": flags}, "goog:loggingPrefs": {"browser": "ALL"}}
        self.driver = driver
        self.session = ""
        self.session = "/session/" + self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.driver + self.session + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {json.load(error)['value']['message']}") from None

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script):
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def find(self, selector):
        return "/element/" + self.call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def element(self, id):
        return self.find("#" + id)

    def click(self, id):
        self.call("POST", self.element(id) + "/click", {})

    def type(self, id, text):
        self.call("POST", self.element(id) + "/value", {"text": text})

    def fill(self, id, text):
        self.call("POST", self.element(id) + "/clear", {})
        self.type(id, text)

    def devtools(self, command, **parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def wait_for(self, script, what):
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.run(f"return {script}"):
            if time.monotonic() > end:
                raise AssertionError(f"{what}: not within {PATIENCE} s; the page shows:\n{self.run('return document.body.innerText')}")
            time.sleep(0.02)

    def set_screen(self, width, height, scheme):
        """Sets the size of the page and its colour scheme, light or dark."""
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def reset_screen(self):
        self.devtools("Emulation.clearDeviceMetricsOverride")
        self.devtools("Emulation.setEmulatedMedia", features=[])

    def save_picture(self, path):
        png = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(png))

    def errors(self):
        """Messages of the console that are not answers with an error status."""
        entries = self.call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE" and "Failed to load resource" not in entry["message"]]


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


@contextlib.contextmanager
def server(binary, folder, variables):
    """Runs the server; yields the address of its API."""
    path = pathlib.Path(folder, "log")
    with path.open("wb") as log:
        process = subprocess.Popen([binary], cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield ready(process, path) + "/api/v1"
    finally:
        process.terminate()
        process.wait()


def ready(process, log):
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r"ready.*address[\":= ]+[^ \"]*:(\d+)", log.read_text())
        if found:
            return f"http://localhost:{found[1]}"
        time.sleep(0.05)
    raise AssertionError("the server did not get ready:\n" + log.read_text())


@contextlib.contextmanager
def chromedriver():
    """Runs the driver; yields its address."""
    process = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        for line in process.stdout:
            if "started successfully on port" in line:
                yield "http://127.0.0.1:" + line.rstrip().rstrip(".").rsplit(" ", 1)[1]
                return
        raise AssertionError("chromedriver did not start")
    finally:
        process.terminate()
        process.wait()


class Pages(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def serve_pages(folder):
    """Serves a folder in the background; returns its origin."""
    handler = functools.partial(Pages, directory=folder)
    pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    return f"http://localhost:{pages.server_port}"
