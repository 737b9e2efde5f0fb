"""A headless Chromium, steered through chromedriver's W3C WebDriver interface on a loopback port.
Only what the tests of pages need; the browser reaches no host."""

import json
import os
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request

TIMEOUT_S = 60
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # The key of an element's id, by the standard.


def missing_program():
    """The name of a program that is not there, or None."""
    return next((name for name in ("chromium", "chromedriver") if not shutil.which(name)), None)


class Browser:
    """Opens in `with`; what was started is ended with it, however the block ends."""

    def __init__(self, folder, width=1600, height=1100):
        self.folder = folder
        self.options = ["--headless=new", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
                        "--disable-dev-shm-usage", "--disable-background-networking",
                        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder}/user",
                        f"--window-size={width},{height}", "--force-device-scale-factor=1"]
        if os.geteuid() == 0:  # Its sandbox refuses root.
            self.options.append("--no-sandbox")
        self.driver = None
        self.address = None
        self.session = None

    def __enter__(self):
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
            env=dict(os.environ, HOME=str(self.folder)))
        try:
            self.address = f"http://127.0.0.1:{self.port()}"
            answer = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": {
                "browserName": "chrome",
                "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": self.options},
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}})
            self.session = answer["sessionId"]
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def port(self):
        for line in self.driver.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                return found[1]
        raise AssertionError("chromedriver ended before it listened")

    def close(self):
        try:
            if self.session:
                self.ask("DELETE", f"/session/{self.session}")
        except (OSError, AssertionError):
            pass  # The group goes all the same.
        try:
            os.killpg(self.driver.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.driver.wait()
        self.driver.stdout.close()

    def ask(self, method, path, body=None):
        data = None if method in ("GET", "DELETE") else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.address + path, data=data, method=method,
                                         headers={"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=TIMEOUT_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()[:600]}") from error

    def call(self, method, path, body=None):
        return self.ask(method, f"/session/{self.session}{path}", body)

    def open(self, path):
        self.log("performance")  # What came before is the browser's own.
        self.call("POST", "/url", {"url": f"file://{path}"})

    def run(self, script, *arguments):
        """What the script returns; it reads its arguments from `arguments`."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, selector):
        return self.call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.call("POST", f"/element/{self.find(selector)}/click")

    def clear(self, selector):
        self.call("POST", f"/element/{self.find(selector)}/clear")

    def keys(self, selector, text):
        self.call("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def text(self, selector):
        return self.call("GET", f"/element/{self.find(selector)}/text")

    def click_at(self, x, y):
        """Of the window, in pixels."""
        self.call("POST", "/actions", {"actions": [{
            "type": "pointer", "id": "mouse", "actions": [
                {"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)},
                {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]}]})

    def log(self, kind):
        return self.call("POST", "/se/log", {"type": kind})

    def complaints(self):
        return [entry["message"] for entry in self.log("browser")
                if entry["level"] in ("SEVERE", "WARNING")]

    def fetched(self):
        """Addresses of all requests since the page was opened."""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [message["params"]["request"]["url"] for message in messages
                if message["method"] == "Network.requestWillBeSent"]
