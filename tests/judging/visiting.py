"""A browser without eyes: cookies, forms with their token, the headers that browsers send."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import httpx2
from premises import Premises
from sqlalchemy import text

from hashseal.sandbox import _Bridge
from hashseal_gateway.users import totp
from hashseal_gateway.users.model import Role

TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')
ADDRESS = "http://127.0.0.1:8080"


class Person:
    """Somebody with a browser of their own."""

    def __init__(self, house: Premises, address: str = ADDRESS, origin: str | None = None) -> None:
        self.house = house
        self.origin = origin or address
        self.http = httpx2.Client(
            transport=_Bridge(house.app, house.loop),
            base_url=address,
            headers={"Accept": "text/html,*/*;q=0.8"},
            timeout=60,
        )
        house.clients.append(self.http)
        self.token = ""

    def get(self, path: str, **options: Any) -> httpx2.Response:
        answer = self.http.get(path, **options)
        found = TOKEN.search(answer.text)
        if found:
            self.token = found[1]
        return answer

    def send(
        self, path: str, *, headers: dict[str, str] | None = None, **fields: Any
    ) -> httpx2.Response:
        """Send a form as a page of the gateway does."""
        said = {"Origin": self.origin, "Sec-Fetch-Site": "same-origin", **(headers or {})}
        data = {"form_token": self.token, **fields}
        return self.http.post(path, data=data, headers={k: v for k, v in said.items() if v})

    def log_in(self, name: str, password: str, code: str = "", **options: Any) -> httpx2.Response:
        """Open the page to log in and send its form."""
        self.get("/login")
        fields = {"name": name, "password": password, "code": code, **options}
        return self.send("/login", **fields)

    @property
    def is_in(self) -> bool:
        return self.get("/profile").status_code == 200


class Clock:
    """The gateway's time as users and sessions see it, moved forward by a test."""

    def __init__(self, house: Premises) -> None:
        self._office = house.gateway.office
        self._real = self._office.users._now
        self.moved = timedelta()
        self._office.users._now = self._office.sessions._now = self

    def __call__(self) -> datetime:
        return self._real() + self.moved

    def stop(self) -> None:
        self._office.users._now = self._office.sessions._now = self._real


def user(house: Premises, name: str, role: Role = Role.ADMINISTRATOR) -> str:
    """A new user; the password."""
    return house.do(house.gateway.office.users.create_user(name, role))[1]


def code_of(secret: str, at: datetime) -> str:
    """The authenticator's code at a moment."""
    return totp.code_at(secret, int(at.timestamp()) // 30)


def proposed(person: Person) -> tuple[str, str]:
    """The secret that the page shows, and what the form sends back."""
    shown = person.get("/profile/totp")
    assert shown.text.count("<svg") == 1
    assert "style=" not in shown.text
    secret = re.search(r"<code>([A-Z2-7 ]+)</code>", shown.text)[1].replace(" ", "")
    return secret, re.search(r'name="sealed" value="([0-9a-f]+)"', shown.text)[1]


async def forget_tries(home: Premises) -> None:
    """Nobody has tried to log in."""
    async with home.gateway.office.database.write() as connection:
        await connection.execute(text("DELETE FROM login_try"))
