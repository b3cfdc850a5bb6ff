"""No secret is left anywhere (I20): a watch over every scenario that speaks to service or gateway.

It learns the secrets of a scenario by their form, and from the requests and answers that pass, and
looks for them afterwards in the log, the figures, the traces, every column of the database, every
file of the data folder and every refusal. A new kind of secret needs one row in `KINDS`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from needles import everything, written
from sqlalchemy.exc import SQLAlchemyError

SHORTEST = 8
"""Octets of a secret below which it might be found by chance."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of secret.

    Attributes:
        form: how one looks, wherever it may be; None if it looks like anything.
        shown: part of a path, and the field of a successful answer that holds one.
        sent: fields of requests that hold one.
    """

    name: str
    form: re.Pattern[bytes] | None = None
    shown: tuple[tuple[str, str], ...] = ()
    sent: tuple[str, ...] = ()


KINDS = (
    Kind("API token or access token", re.compile(rb"hs_[0-9a-f]{16}_[0-9a-f]{48,56}")),
    Kind("API key of the gateway", re.compile(rb"hsg_[0-9a-f]{16}_[0-9a-f]{48,56}")),
    Kind("secret of an authenticator", re.compile(rb"otpauth://")),
    Kind("secret of an OAuth2 client", re.compile(rb"hsc_[0-9a-f]{16}_[0-9a-f]{48,56}"),
         sent=("client_secret",)),
    Kind("secret of a webhook", re.compile(rb"whsec_[A-Za-z0-9+/]{32,}"),
         shown=(("/v1/webhooks", "secret"),)),
    Kind("SAD", shown=(("/csc/", "SAD"),)),
    Kind("PIN or password", shown=(("/v1/users", "password"),),
         sent=("PIN", "OTP", "password")),
    Kind("private key in PEM", re.compile(rb"-----BEGIN (RSA |EC )?PRIVATE KEY-----")),
    Kind("private key in DER", re.compile(
        rb"\x02\x01\x00\x30(\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01|\x0d\x06\x09\x2a\x86\x48\x86\xf7"
        rb"\x0d\x01\x01\x01)")),
)  # fmt: skip
OWN_FILES = frozenset(
    {
        *("secret", "pin", "officer-pin", "authorisation-key"),
        *("service-token", "access.json"),  # of the gateway; the second is of `make gateway`
    }
)
"""Files that are there to hold a secret; their permissions are tested elsewhere."""


@dataclass
class Watch:
    """What one scenario has shown so far."""

    secrets: dict[bytes, str] = field(default_factory=dict)
    refusals: list[bytes] = field(default_factory=list)

    def learn(self, kind: str, value: object) -> None:
        """A secret of this scenario."""
        if isinstance(value, str) and len(value) >= SHORTEST:
            self.secrets[value.encode()] = kind

    async def hear(self, answer: Any) -> None:
        """Hook of an asynchronous client."""
        await answer.aread()
        await answer.request.aread()
        self._note(answer)

    def heard(self, answer: Any) -> None:
        """Hook of a client that is not asynchronous; large files are left where they are."""
        if answer.is_success and "json" not in answer.headers.get("content-type", ""):
            return
        answer.read()
        answer.request.read()
        self._note(answer)

    def _note(self, answer: Any) -> None:
        request = answer.request
        for name, value in _fields(request.content, request.headers.get("content-type", "")):
            for kind in KINDS:
                if name in kind.sent:
                    self.learn(kind.name, value)
        if answer.is_success:
            for kind in KINDS:
                for path, name in kind.shown:
                    if path in request.url.path and "json" in answer.headers.get(
                        "content-type", ""
                    ):
                        found = answer.json()
                        self.learn(kind.name, found.get(name) if isinstance(found, dict) else None)
        else:
            self.refusals.append(answer.content + repr(answer.headers).encode())

    def leaks(self, places: Mapping[str, bytes]) -> list[str]:
        """What was found where."""
        found = []
        for place, content in places.items():
            found += [
                f"{kind.name} in {place}: {one[0][:10]!r}…"
                for kind in KINDS
                if kind.form is not None and (one := kind.form.search(content))
            ]
            for secret, name in self.secrets.items():
                forms = written(secret) if len(secret) > 2 * SHORTEST else {secret}
                if any(form in content for form in forms):
                    found.append(f"{name} in {place}")
        return found


def _fields(body: bytes, media_type: str) -> Iterator[tuple[str, object]]:
    if "urlencoded" in media_type:
        yield from parse_qsl(body.decode("latin-1"))
        return
    if "multipart" in media_type:
        boundary = media_type.partition("boundary=")[2].strip('"').encode()
        for part in body.split(b"--" + boundary)[1:-1]:
            yield from _fields(part.partition(b"\r\n\r\n")[2].strip(), "application/json")
        return
    try:
        waiting = [json.loads(body)]
    except (ValueError, RecursionError):
        return
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from one.items()
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def files(folder: Path) -> bytes:
    """Every file below, but for those that are there to hold a secret."""
    return b"\n".join(
        one.name.encode() + b"\n" + content
        for one, content in contents(folder)
        if one.name not in OWN_FILES
    )


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Each file below as it is now; one that goes meanwhile (a journal of SQLite) is left out."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            with suppress(FileNotFoundError):
                if path.is_file():
                    yield path, path.read_bytes()


async def places(operator: Any, log: str, watch: Watch, **more: bytes) -> dict[str, bytes]:
    """Where to look; `more` are the figures and the traces, of whoever has them."""
    folder, database = operator.settings.data_dir, operator.database
    return await looked_at(folder, database, log, watch, **more)


async def looked_at(
    folder: Path, database: Any, log: str, watch: Watch, **more: bytes
) -> dict[str, bytes]:
    """The same for whoever has a data folder and a database.

    A database that the scenario has broken is looked at as a file alone.
    """
    found = {
        "log": log.encode(),
        "refusals": b"\n".join(watch.refusals),
        "files": files(folder),
        **more,
    }
    try:
        found["database"] = await everything(database)
    except (SQLAlchemyError, OSError):
        found["database"] = b""
    return found
