"""Clients of the CSC API among those of the kill tests: they authorise hashes, and sign them once.

Each hash is authorised once only, so that books can say of every one whether it was signed.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
from dataclasses import dataclass
from typing import Any

import httpx2
from callers import PATIENCE, Access, Journal
from csc_calls import ECDSA, SHA256
from fleet import Fleet

LEVELS = ("Ades-B-B", "Ades-B-T", "Ades-B-LT")
SIGN_DOC = "/csc/v2/signatures/signDoc"
AUTHORIZE = "/csc/v2/credentials/authorize"
ATTEMPTS = 200
OVER = {"Hash is not authorized by the SAD", "Invalid parameter SAD: it is used up"}
"""What a client is told whose hashes are another call's, or were signed before."""


@dataclass
class CscClient:
    """One of them, on its own connection."""

    name: str
    fleet: Fleet
    access: Access
    journal: Journal
    http: httpx2.AsyncClient
    choose: random.Random

    async def ask(self, path: str, body: Any, key: str | None = None) -> httpx2.Response | None:
        """One attempt at one replica; None when there was no answer, or none for now."""
        headers = {"authorization": f"Bearer {self.access.token}"}
        if key is not None:
            headers["idempotency-key"] = key
        url = self.fleet.url(self.choose.randrange(self.fleet.size)) + path
        try:
            answer = await self.http.post(url, json=body, headers=headers)
        except httpx2.HTTPError as error:
            self.journal.failures[type(error).__name__] += 1
            return None
        if answer.status_code == 503:
            assert answer.json()["error"] == "server_error", answer.text
            self.journal.failures["server_error"] += 1
            return None
        return answer

    async def authorised(self, turn: int, size: int) -> tuple[str, list[str]]:
        """A SAD and the hashes that it is for; those of attempts without an answer are left."""
        for attempt in range(ATTEMPTS):
            texts = [f"{self.name}-{turn}/{attempt}/{n}" for n in range(size)]
            hashes = [
                base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in texts
            ]
            body = {
                "credentialID": self.access.seal,
                "numSignatures": size,
                "hashes": hashes,
                "hashAlgorithmOID": SHA256,
            }
            answer = await self.ask(AUTHORIZE, body)
            if answer is not None:
                assert answer.status_code == 200, answer.text
                if len(self.journal.watch.secrets) < 20:  # looked for in every form, so not all
                    self.journal.watch.learn("SAD", answer.json()["SAD"])
                return str(answer.json()["SAD"]), hashes
            await asyncio.sleep(0.05 + 0.05 * min(attempt, 10))
        raise AssertionError(f"{self.name}-{turn} was never authorised")

    async def call(self, turn: int) -> None:
        """Authorise and sign; with a key until it is answered, without one once."""
        sad, hashes = await self.authorised(turn, self.choose.choice((1, 1, 2, 5)))
        entry = {
            "hashes": hashes,
            "hashAlgorithmOID": SHA256,
            "signature_format": "P",
            "conformance_level": self.choose.choice(LEVELS),
            "signAlgo": ECDSA,
        }
        body = {"credentialID": self.access.seal, "SAD": sad, "documentDigests": [entry]}
        if self.choose.random() < 0.2:
            await self.without_key(body)
            return
        key = f"{self.name}-{turn}"
        keys = (key, f"{key}-racing") if self.choose.random() < 0.3 else (key,)
        await self.until_signed(body, keys)

    async def until_signed(self, body: Any, keys: tuple[str, ...]) -> None:
        """Ask under all keys at once, which race for the same hashes, until one of them has them."""
        impatient = self.choose.random() < 0.1
        for attempt in range(ATTEMPTS):
            answers = await asyncio.gather(*(self.ask(SIGN_DOC, body, key) for key in keys))
            told = [(key, one) for key, one in zip(keys, answers, strict=True) if one is not None]
            signed = [(key, one) for key, one in told if one.status_code == 200]
            assert len(signed) < 2, "one SAD signed the same hashes under two keys"
            for key, answer in told:
                if answer.status_code != 200:
                    assert len(keys) > 1, (key, answer.text)
                    self.require_over(answer)
            if signed:
                key, answer = signed[0]
                self.journal.csc[key] = self.access, body, answer.content
                await self.again(body)
                return
            if impatient:
                self.journal.given_up += 1
                return
            await asyncio.sleep(0.05 + 0.05 * min(attempt, 10))
        raise AssertionError(f"{keys[0]} was never answered")

    async def without_key(self, body: Any) -> None:
        """What came of the first attempt is not known, if it was not answered: never asked twice.

        A second attempt signs only if the first has signed nothing.
        """
        first = await self.ask(SIGN_DOC, body)
        if first is not None and first.status_code == 200:
            self.journal.unkeyed += 1
            await self.again(body)
            return
        assert first is None, first.text
        second = await self.ask(SIGN_DOC, body)
        if second is not None and second.status_code == 200:
            self.journal.unkeyed += 1
            return
        if second is not None:
            self.require_over(second)
        self.journal.given_up += 1

    async def again(self, body: Any) -> None:
        """Hashes that were signed are not signed once more."""
        if self.choose.random() < 0.3:
            answer = await self.ask(SIGN_DOC, body)
            if answer is not None:
                self.require_over(answer)

    def require_over(self, answer: httpx2.Response) -> None:
        """Refused, since the hashes are another call's or were signed."""
        assert answer.status_code == 400, answer.text
        assert answer.json()["error_description"] in OVER, answer.text


async def csc_client(
    number: int, fleet: Fleet, access: Access, journal: Journal, over: asyncio.Event
) -> None:
    """Authorise and sign, one call after the other, until the end."""
    choose = random.Random(f"csc client {number}")
    limits = httpx2.Limits(max_keepalive_connections=0)
    async with httpx2.AsyncClient(timeout=PATIENCE, limits=limits) as http:
        one = CscClient(f"{journal.name}sc{number}", fleet, access, journal, http, choose)
        turn = 0
        while not over.is_set():
            turn += 1
            await one.call(turn)
