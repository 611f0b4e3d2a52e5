"""Clicks a purchase in headless Chromium, see purchase.sh: the server with a look-alike of Stripe, in both billing modes."""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from browser import PATIENCE, Browser, chromedriver, expect, serve_pages, server

TAB, ENTER = "\ue004", "\ue007"
# What a purchase makes Stripe send.
PURCHASE = ["customer.subscription.created", "invoice.paid", "customer.subscription.updated", "checkout.session.completed"]


class Api:
    """The server's API, as its user."""

    def __init__(self, url, token):
        self.url = url
        self.token = token

    def call(self, method, path, body=None, **query):
        url = f"{self.url}{path}?{urllib.parse.urlencode(query)}"
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None

    def status(self):
        return self.call("GET", "/app/billing/status")

    def wait_for(self, what, **wanted):
        """Waits until the billing status has these values, and what the webhooks have stored has the same plan and status."""
        end = time.monotonic() + PATIENCE
        while True:
            status, me = self.status(), self.call("GET", "/app/users/me")
            stored = (me["subscription_plan"], me["subscription_status"]) == (status["plan"], status["status"])
            if stored and wanted.items() <= status.items():
                return status
            if time.monotonic() > end:
                raise AssertionError(f"{what}: not within {PATIENCE} s; the status is {status}, and stored is {me}")
            time.sleep(0.05)


def free_port():
    """A port of the server, which the look-alike must know before the server starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def fake_vendors(binary, folder, mode, deliver_to):
    """Runs the look-alike; yields the variables that it prints."""
    command = [binary, "fake-vendors", "--port", "0", "--mode", mode, "--deliver-to", deliver_to]
    process = subprocess.Popen(command, cwd=folder, env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        variables = {}
        for line in process.stdout:
            name, _, value = line.strip().partition("=")
            variables[name] = value
            if name == "STRIPE_PRICE_ID_ENTERPRISE":
                break
        expect("STRIPE_API_BASE" in variables, f"fake-vendors printed {variables}")
        yield {name: value for name, value in variables.items() if name.startswith("STRIPE_")}
    finally:
        process.terminate()
        expect(process.wait() == 0, "fake-vendors ends without an error")


class Camera:
    """Takes pictures of the pages, if a folder is given, and checks that they fit."""

    def __init__(self, browser, folder, mode):
        self.browser = browser
        self.folder = folder
        self.mode = mode
        self.taken = 0

    def take(self, name):
        self.taken += 1
        for width, scheme in [(360, "dark"), (1440, "light")]:
            self.browser.set_screen(width, 800, scheme)
            shown = self.browser.run("return document.documentElement.scrollWidth")
            expect(shown <= width, f"{name}: {shown} pixels wide on a screen of {width}")
            if self.folder:
                self.browser.save_picture(pathlib.Path(self.folder, f"{self.mode}-{self.taken}-{name}-{width}.png"))
        self.browser.reset_screen()


def press(browser, selector, what):
    """Clicks a button of a form, and waits for the page that follows."""
    browser.run("window.isOld = true")
    browser.call("POST", browser.find(selector) + "/click", {})
    browser.wait_for("!window.isOld && document.readyState === 'complete'", what)


def check_checkout(browser, api, camera, origin):
    """Declined, then paid by keyboard; returns when the subscription is active."""
    urls = {"success_url": origin + "/paid.html?session={CHECKOUT_SESSION_ID}", "cancel_url": origin + "/left.html"}
    checkout = api.call("POST", "/app/billing/checkout", {"plan": "monthly", **urls})
    browser.open(checkout["url"])
    camera.take("checkout")
    press(browser, "#leave", "the page behind Cancel")
    expect(browser.run("return location.pathname") == "/left.html", "Cancel leads back")
    again = api.call("POST", "/app/billing/checkout", {"plan": "monthly", **urls})
    expect(again == checkout, f"an open checkout is given again: {again}")
    browser.open(again["url"])
    press(browser, "#decline", "the page behind Decline")
    expect(browser.run("return document.querySelector('[role=alert]').textContent.includes('declined')"), "a decline is shown")
    camera.take("declined")
    expect(api.status()["status"] is None, "a declined card buys nothing")

    browser.call("POST", browser.find("body") + "/value", {"text": TAB})
    expect(browser.run("return document.activeElement.id") == "pay", "the first key Tab reaches Pay")
    browser.call("POST", browser.find("#pay") + "/value", {"text": ENTER})
    browser.wait_for("location.pathname === '/paid.html'", "the page behind Pay")
    paid = browser.run("return new URL(location.href).searchParams.get('session')")
    expect(paid == checkout["session_id"], f"the session leads back, not {paid}")
    camera.take("paid")
    status = api.wait_for("the subscription is active", plan="pro", status="active", has_active_subscription=True, cancel_at_period_end=False)
    expect(status["current_period_end"], f"the paid time has an end: {status}")
    return status


def check_portal(browser, api, camera, origin, active):
    """Cancelled for the end of the period, resumed, ended."""
    back = origin + "/account.html"
    browser.open(api.call("GET", "/app/billing/portal", return_url=back)["url"])
    camera.take("portal")
    press(browser, "button[value=cancel]", "the page behind Cancel at period end")
    camera.take("cancelled")
    api.wait_for("the cancellation", **{**active, "cancel_at_period_end": True})
    press(browser, "button[value=resume]", "the page behind Resume")
    api.wait_for("the resumption", **active)

    # The same by our API.
    canceled = api.call("POST", "/app/billing/cancel")
    expect(canceled["cancel_at_period_end"] is True, f"the API cancels: {canceled}")
    api.wait_for("the cancellation by the API", **{**active, "cancel_at_period_end": True})
    resumed = api.call("POST", "/app/billing/resume")
    expect((resumed["status"], resumed["plan"]) == ("active", "pro"), f"the API resumes: {resumed}")
    api.wait_for("the resumption by the API", **active)

    invoices = api.call("GET", "/app/billing/invoices")
    expect([(invoice["status"], invoice["amount_paid"]) for invoice in invoices] == [("paid", 1900)], f"the invoices: {invoices}")
    browser.open(api.call("GET", "/app/billing/portal", return_url=back)["url"])
    press(browser, "button[value=end]", "the page behind Cancel now")
    camera.take("ended")
    api.wait_for("the end", plan="free", status="canceled", has_active_subscription=False)
    press(browser, "#back", "the page behind Back")
    expect(browser.run("return location.pathname") == "/account.html", "the portal leads back")


def check_deliveries(browser, camera, fake):
    """Every event was accepted at once, and the control page shows them."""
    with urllib.request.urlopen(f"{fake}/_fake/deliveries", timeout=30) as answer:
        deliveries = json.load(answer)["data"]
    refused = [delivery for delivery in deliveries if delivery["status"] != 200]
    expect(refused == [], f"webhooks that were not accepted: {refused}")
    types = [delivery["type"] for delivery in deliveries]
    expect(types[1:5] == PURCHASE and types[-1] == "customer.subscription.deleted", f"the webhooks: {types}")
    browser.open(fake)
    camera.take("control")


def check(browser, binary, pictures, mode):
    with tempfile.TemporaryDirectory() as folder:
        pages = pathlib.Path(folder, "pages")
        pages.mkdir()
        for name in ["paid", "left", "account"]:
            pages.joinpath(f"{name}.html").write_text(f"<!doctype html><html lang=en><title>{name}</title><link rel=icon href=data:,><h1>{name}</h1>")
        origin, port = serve_pages(pages), free_port()
        with fake_vendors(binary, folder, mode, f"http://127.0.0.1:{port}/api/v1/public/webhooks/stripe") as variables:
            variables |= {
                "PATH": os.environ["PATH"],
                "HOME": folder,
                "PORT": str(port),
                "DATABASE_URL": f"sqlite:///{folder}/purchase.db",
                "BACKEND_CORS_ORIGINS": origin,
            }
            token = subprocess.run(
                [binary, "token", "--email", "ada@example.com"], cwd=folder, env=variables, check=True, stdout=subprocess.PIPE, text=True
            )
            with server(binary, folder, variables) as url:
                api, camera = Api(url, token.stdout.strip()), Camera(browser, pictures, mode)
                try:
                    expect(api.status()["plan"] == "free", "a new user has plan free")
                    active = check_checkout(browser, api, camera, origin)
                    check_portal(browser, api, camera, origin, active)
                    check_deliveries(browser, camera, variables["STRIPE_API_BASE"])
                except AssertionError:
                    problems = re.findall(r"^.*(?:WARN|ERROR|warn|error).*$", pathlib.Path(folder, "log").read_text(), re.MULTILINE)
                    print(f"{mode} billing; the server says:", *problems[-20:], sep="\n", file=sys.stderr)
                    raise


def main():
    pictures = sys.argv[1] if len(sys.argv) > 1 else None
    binary = os.path.abspath(os.environ["OMNISTACK"])
    with chromedriver() as driver:
        browser = Browser(driver)
        try:
            for mode in ["flexible", "classic"]:
                begin = time.monotonic()
                check(browser, binary, pictures, mode)
                print(f"purchase with {mode} billing: paid, cancelled, resumed and ended ({time.monotonic() - begin:.1f} s)")
            expect(browser.errors() == [], f"errors in the console: {browser.errors()}")
        finally:
            browser.call("DELETE", "")


if __name__ == "__main__":
    try:
        main()
    except AssertionError as failure:
        sys.exit(f"failed: {failure}")
