"""Drives docs/examples/chat.html in headless Chromium, see chat.sh: against a stub of the API, then against the server."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

from browser import Browser, chromedriver, expect, serve_pages, server
from chat_stub import LONG, Stub

EXAMPLES = pathlib.Path("docs/examples").resolve()


def last_answer(browser):
    """Text of the newest answer, without the note behind it."""
    return browser.run("return [...document.querySelectorAll('#log .assistant div')].at(-1)?.firstChild?.data ?? ''")


def connect(browser, page, api, password="the right password"):
    browser.open(page)
    browser.fill("api", api)
    browser.fill("email", "ada@example.com")
    browser.fill("password", password)
    browser.click("connect")


def ask(browser, prompt):
    """Sends a prompt and waits for the end of the answer, whatever it is."""
    browser.fill("prompt", prompt + "\ue007")  # the key Enter
    browser.wait_for("/complete|Failed|Stopped/.test(document.getElementById('status').textContent)", f"an end of {prompt!r}")
    return last_answer(browser), browser.run("return document.getElementById('alert').textContent")


def ask_and_stop(browser, prompt, whole):
    """Stops an answer as soon as some of it is shown; checks that it stays a part."""
    browser.run(f"document.getElementById('prompt').value = {json.dumps(prompt)}")  # typing a long one takes seconds
    browser.click("send")
    browser.wait_for("[...document.querySelectorAll('#log .assistant div')].at(-1)?.firstChild.data.length > 10", "the first words")
    expect(browser.run("return document.getElementById('log').ariaBusy") == "true", "the list is busy while an answer comes")
    browser.click("stop")
    browser.wait_for("document.getElementById('status').textContent === 'Stopped.'", "the end of a stopped answer")
    part = last_answer(browser)
    expect(10 < len(part) < whole, f"a stopped answer has {len(part)} of {whole} characters")
    expect(browser.run("return document.getElementById('send').disabled") is False, "the next message can be sent")
    expect(browser.run("return document.activeElement.id") == "prompt", "the focus is in the field")


def check_stub(browser, page):
    """Every kind of answer, whole and broken, and every error."""
    with Stub() as stub:
        connect(browser, page, stub.url, password="a wrong one")
        browser.wait_for("/Invalid email or password/.test(document.getElementById('alert').textContent)", "a refused log-in")
        browser.fill("password", "the right password")
        browser.click("connect")
        browser.wait_for("document.activeElement.id === 'prompt'", "the log-in")

        for prompt, wanted in stub.ANSWERS.items():
            answer, alert = ask(browser, prompt)
            expect((answer, alert) == (wanted, ""), f"{prompt}: {answer!r} instead of {wanted!r}; {alert}")
        expect(browser.run("return [document.images.length, window.hacked].join()") == "0,", "markup of a model is text")

        for prompt, (text, wanted) in stub.ERRORS.items():
            answer, alert = ask(browser, prompt)
            expect(answer == text and wanted in alert, f"{prompt}: {answer!r}, {alert!r}; expected {text!r}, {wanted!r}")
            kept = browser.run("return document.getElementById('prompt').value")
            expect(kept == ("" if text else prompt), f"{prompt}: the field holds {kept!r}")

        ask_and_stop(browser, LONG, stub.LONG_LENGTH)
        expect(stub.left.wait(5), "stopping closes the connection")

        browser.click("new")
        ask(browser, "remember me")
        ask(browser, "and me")
        sent = [(message["role"], message["content"]) for message in stub.last["messages"]]
        wanted = [("user", "remember me"), ("assistant", "You said: remember me"), ("user", "and me")]
        expect(sent == wanted, f"the whole conversation is sent, not {sent}")

        before = stub.refreshed
        stub.token = "expired meanwhile"
        answer, alert = ask(browser, "refreshed")
        expect((answer, stub.refreshed) == ("You said: refreshed", before + 1), f"an expired token is refreshed; {alert}")
        browser.run("document.querySelector('#composer details').open = true")
        browser.type("mode", "only")
        answer, alert = ask(browser, "alone")
        expect(answer == "You said: alone" and stub.last["prompt"] == "alone", f"a message alone goes to chat; {stub.last}, {alert}")
    answer, alert = ask(browser, "is anyone there")
    expect("Cannot reach" in alert and "BACKEND_CORS_ORIGINS" in alert, f"a server that is gone: {alert!r}")


def check_looks(browser):
    """Fits 360 pixels, follows the dark scheme, and every field has a label."""
    browser.set_screen(360, 640, "dark")
    width = browser.run("return document.documentElement.scrollWidth")
    expect(width <= 360, f"the page is {width} pixels wide on a screen of 360")
    expect(browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 27)", "the dark scheme is used")
    unnamed = browser.run("return [...document.querySelectorAll('input,select,textarea')].filter(f => !f.labels.length).map(f => f.id)")
    expect(unnamed == [], f"fields without a label: {unnamed}")
    if "CHAT_SCREENSHOT" in os.environ:
        browser.save_picture(os.environ["CHAT_SCREENSHOT"])
    browser.reset_screen()


def check_server(browser, page, origin):
    """Log-in, a streamed answer, an answer stopped half way and a refusal, with the provider for development."""
    with tempfile.TemporaryDirectory() as folder:
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "PORT": "0",
            "DATABASE_URL": f"sqlite:///{folder}/chat.db",
            "BACKEND_CORS_ORIGINS": origin,
            "AI_DEFAULT_PROVIDER": "echo",
        }
        binary = os.path.abspath(os.environ["OMNISTACK"])
        made = subprocess.run(
            [binary, "users", "create", "ada@example.com"], cwd=folder, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        password = re.search(r"^password: (.+)$", made.stdout, re.MULTILINE)[1]
        with server(binary, folder, variables) as api:
            connect(browser, page, api, password="not this one")
            browser.wait_for("document.getElementById('alert').textContent !== ''", "a refused log-in")
            browser.fill("password", password)
            browser.click("connect")
            browser.wait_for("document.activeElement.id === 'prompt'", "the log-in")
            answer, alert = ask(browser, "Hello, gateway")
            expect("Hello, gateway" in answer and alert == "", f"echo answers {answer!r}; {alert}")
            words = " ".join(str(number) for number in range(2000))
            ask_and_stop(browser, words, len(words))
            check_counted(api)
            token = subprocess.run([binary, "token", "--email", "ada@example.com"], cwd=folder, env=variables, check=True, capture_output=True, text=True)
            end = urllib.request.Request(f"{api}/app/auth/logout-all", method="POST", headers={"Authorization": f"Bearer {token.stdout.strip()}"})
            urllib.request.urlopen(end, timeout=30).close()
            _, alert = ask(browser, "refused")
            expect("Please log in" in alert, f"an ended session: {alert!r}")
            expect(browser.run("return document.getElementById('connection').hidden") is False, "a user without a session can log in again")


def check_counted(api):
    """The server has counted the answer that was stopped, with the tokens that were sent of it."""
    end = time.monotonic() + 5
    stopped = 'llm_requests_total{model="echo",provider="echo",status="cancelled"} 1'
    while time.monotonic() < end:
        with urllib.request.urlopen(f"{api}/public/metrics", timeout=30) as answer:
            metrics = answer.read().decode()
        if stopped in metrics:
            sent = re.search(r'^llm_tokens_total.*type="completion"} (\d+)$', metrics, re.MULTILINE)
            # 2,000 words of echo are about as many tokens.
            expect(sent and 10 < int(sent[1]) < 2000, f"tokens of a stopped answer: {sent and sent[1]}")
            return
        time.sleep(0.05)
    raise AssertionError("the stopped answer is not counted:\n" + metrics)


def main():
    origin = serve_pages(EXAMPLES)
    page = origin + "/chat.html"
    with chromedriver() as driver:
        browser = Browser(driver)
        try:
            check_stub(browser, page)
            print("chat.html: shows every answer and error of a stub")
            check_looks(browser)
            print("chat.html: fits 360 pixels, in the dark scheme, with labels")
            check_server(browser, page, origin)
            print("chat.html: logs in to the server, streams, stops and shows a refusal")
            expect(browser.errors() == [], f"errors in the console: {browser.errors()}")
        finally:
            browser.call("DELETE", "")


if __name__ == "__main__":
    try:
        main()
    except AssertionError as failure:
        sys.exit(f"failed: {failure}")
