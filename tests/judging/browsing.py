"""Pages as people see them: the gateway behind a port, Chromium in front, axe beside.

Chromium is Debian's; nothing is downloaded. Whatever a page says on the console, every error of a
script, every refusal by the Content-Security-Policy and every answer 5xx is kept, and a test that ends
with any of it fails.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import axe_playwright_python
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright
from ports import free_port
from premises import Premises

from hashseal_gateway.users import totp
from hashseal_gateway.users.model import Role

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_PATIENCE = 20_000
expect.set_options(timeout=_PATIENCE)  # milliseconds; a busy machine takes several seconds


@dataclass
class Site:
    """The gateway of some premises on a port of loopback; each answer waits `delay` seconds, one under way too."""

    url: str
    house: Premises
    delay: float = 0.0
    passwords: dict[str, str] = field(default_factory=dict)
    seeds: dict[str, str] = field(default_factory=dict)

    def user(self, role: Role = Role.ADMINISTRATOR, *, name: str = "", code: bool = False) -> str:
        """A user of this role, made when first asked for; the name. With `code`, TOTP is enrolled."""
        name = name or (f"{role.value}-totp" if code else role.value)
        if name not in self.passwords:
            users = self.house.gateway.office.users
            _, self.passwords[name] = self.house.do(users.create_user(name, role))
            if code:
                self.seeds[name], _ = self.house.do(users.enrol_totp(name))
        return name

    def code(self, name: str, *, step: int = 0) -> str:
        """The authenticator's code of this moment, or of a step later."""
        at = int(self.house.gateway.office.users._now().timestamp())
        return totp.code_at(self.seeds[name], at // 30 + step)


@contextmanager
def site(house: Premises) -> Iterator[Site]:
    """Serve while the block runs, on the loop of the premises."""
    port = free_port()
    made = Site(f"http://127.0.0.1:{port}", house)

    async def delayed(scope: Any, receive: Any, send: Any) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < made.delay:  # noqa: ASYNC110 - a test changes it elsewhere
            await asyncio.sleep(0.05)
        await house.app(scope, receive, send)

    config = uvicorn.Config(
        delayed, host="127.0.0.1", port=port, log_level="error", lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    running = asyncio.run_coroutine_threadsafe(server._serve(), house.loop)

    async def started() -> None:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.02)

    house.do(started())
    try:
        yield made
    finally:
        server.should_exit = True
        running.result(30)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless. While it is open this thread cannot `asyncio.run`."""
    program = shutil.which("chromium")
    assert program, "run tools/judges.py: Chromium is missing"
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """One page of a browser profile of its own."""

    def __init__(self, page: Page, at: Site) -> None:
        self.page = page
        self.site = at
        self.faults: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        page.on("response", self._answered)
        page.on("requestfailed", self._failed)

    def go(self, path: str) -> Page:
        """Open a page of the site."""
        self.page.goto(self.site.url + path)
        return self.page

    def log_in(self, role: Role = Role.ADMINISTRATOR, *, there: str = "/") -> Page:
        """Log in through the form as a user of this role; opens `there`."""
        name = self.site.user(role)
        self.go(there)
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(self.site.passwords[name])
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("button", name="Log out").wait_for()
        return self.page

    def look(self) -> None:
        """axe finds nothing; the page is not wider than the window; nothing was said or refused."""
        # The policy forbids scripts from elsewhere, axe included: it comes through the debugger.
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        options = {"runOnly": {"type": "tag", "values": _RULES}, "resultTypes": ["violations"]}
        found = self.page.evaluate("options => axe.run(document, options)", options)
        told = [
            f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes'][:3]]}"
            for one in found["violations"]
        ]
        assert not told, f"{self.page.url}: {told}"
        wide = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{self.page.url} is {wide} points wider than the window"
        self.quiet()

    def quiet(self) -> None:
        """Nothing was said on the console, refused, or failed."""
        assert self.faults == [], self.faults

    def _said(self, message: Any) -> None:
        # A status of 400 and above is told there too; tests look at those themselves.
        if (
            message.type in {"error", "warning"}
            and "the server responded with a status of 4" not in message.text
        ):
            self.faults.append(f"console: {message.text}")

    def _answered(self, response: Any) -> None:
        if response.status >= 500:
            self.faults.append(f"{response.status} {response.url}")

    def _failed(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # a navigation, or a download, took its place
            self.faults.append(f"{request.failure} {request.url}")


@contextmanager
def tab(browser: Browser, at: Site, *, phone: bool = False, **options: Any) -> Iterator[Tab]:
    """A page in a profile of its own; `phone` is 390 px wide and touched. Ends with `quiet`."""
    size: dict[str, Any] = (
        {"viewport": PHONE, "has_touch": True, "is_mobile": True}
        if phone
        else {"viewport": DESKTOP}
    )
    context = browser.new_context(**{**size, **options})
    try:
        made = Tab(context.new_page(), at)
        made.page.set_default_timeout(_PATIENCE)
        yield made
        made.quiet()
    finally:
        context.close()
