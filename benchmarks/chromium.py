"""A page in headless Chromium, over its debugging pipe: what it says, what it asks for, how it looks.

with Chromium() as browser:
    page = browser.open(Path("report.html"))
    page.value("document.title")
    page.screenshot(Path("page.png"), width=390)
    page.messages, page.requests  # of the console; of addresses other than the page's own

Only the standard library is used.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions", "--hide-scrollbars",
    "--disable-background-networking", "--disable-dev-shm-usage", "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)  # fmt: skip
START = (
    "import os, sys; r, w = map(int, sys.argv[1:3]); os.dup2(r, 3); os.dup2(w, 4); os.execvp(sys.argv[3], sys.argv[3:])"
)


def found() -> str | None:
    """The program, or None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """A browser of its own, without a profile, until the end of the `with` block."""

    def __enter__(self) -> "Chromium":
        program = found()
        if program is None:
            raise RuntimeError(f"none of {', '.join(NAMES)} is installed")
        self._folder = tempfile.mkdtemp(prefix="mixzoo-chromium-")
        (its_in, our_out), (our_in, its_out) = os.pipe(), os.pipe()
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (its_in, its_out)]
        command = [sys.executable, "-c", START, *map(str, theirs), program, *FLAGS, f"--user-data-dir={self._folder}"]
        self._process = subprocess.Popen(command, pass_fds=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for end in (its_in, its_out, *theirs):
            os.close(end)
        self._out, self._in = our_out, our_in
        self._left, self._number = b"", 0
        self.events: list[dict[str, Any]] = []
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._out)  # the browser ends when its pipe does
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        shutil.rmtree(self._folder, ignore_errors=True)

    def open(self, file: Path) -> "Page":
        """The page in this file, when it has loaded."""
        return Page(self, file.resolve().as_uri())

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """The answer to a command of the protocol; events that come before it are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer.get("result", {})
            self.events.append(answer)

    def wait(self, fits: Callable[[dict[str, Any]], bool]) -> None:
        """Wait for an event for which this is true."""
        while not any(map(fits, self.events)):
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            content = os.read(self._in, 1 << 20)
            if not content:
                raise RuntimeError("the browser has ended")
            self._left += content
        text, _, self._left = self._left.partition(b"\0")
        return json.loads(text)


class Page:
    """A page that the browser has loaded."""

    def __init__(self, browser: Chromium, address: str) -> None:
        self._browser, self.address = browser, address
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=address)
        browser.wait(lambda event: event.get("method") == "Page.loadEventFired" and self._is_own(event))

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to a command about this page."""
        return self._browser.call(method, self._session, **params)

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression, a promise's once it is there."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def look(self, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Give the window this size in pixels and this colour scheme, and wait until it is drawn."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def screenshot(self, file: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> Path:
        """A PNG of the whole page in a window of this width."""
        self.look(width=width, height=height, dark=dark)
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": width, "height": min(size["height"], 16_000), "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        file.write_bytes(b64decode(shot["data"]))
        return file

    def drag(self, *points: tuple[float, float]) -> None:
        """Press the mouse at the first point of the window, move it over the others, and let go."""
        for i, (x, y) in enumerate(points):
            kind = "mousePressed" if i == 0 else "mouseMoved"
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)
        x, y = points[-1]
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)

    @property
    def messages(self) -> list[str]:
        """What the page wrote to the console, errors that nothing caught, and what the policy refused."""
        self.value("new Promise(done => setTimeout(done, 0))")  # so that what was said before has arrived
        said = []
        for event in self._own():
            params = event["params"]
            if event["method"] == "Runtime.consoleAPICalled":
                said.append(" ".join(str(each.get("value", each.get("description"))) for each in params["args"]))
            elif event["method"] == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                said.append(details.get("exception", {}).get("description", details["text"]))
            elif event["method"] == "Log.entryAdded":
                said.append(params["entry"]["text"])
        return said

    @property
    def requests(self) -> list[str]:
        """Addresses that the page asked for, other than its own and what is inside it."""
        self.value("new Promise(done => setTimeout(done, 0))")
        asked = [e["params"]["request"]["url"] for e in self._own() if e["method"] == "Network.requestWillBeSent"]
        return [address for address in asked if address != self.address and not address.startswith("data:")]

    def _own(self) -> list[dict[str, Any]]:
        return [event for event in self._browser.events if "method" in event and self._is_own(event)]

    def _is_own(self, event: dict[str, Any]) -> bool:
        return event.get("sessionId") == self._session
