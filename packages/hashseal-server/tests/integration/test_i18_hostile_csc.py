"""I18: hostile requests to the CSC API: its own refusal each, nothing signed, nothing charged."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from csc_calls import Csc
from hostile_bodies import CANARY, CSC, Endpoint, Hostile, every, filled
from sqlalchemy import func, select

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.problems import TABLE
from hashseal_server.csc.store import authorisations
from hashseal_server.main import now
from hashseal_server.pki.model import LegalPerson
from hashseal_server.remote_signing import raw_credentials
from hashseal_server.signing.tables import signatures

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.parametrize("other_settings", [{"requests_per_minute": 0, "raw_signing": True}]),
]
ERRORS = {row.csc for row in TABLE}
SUBJECT = LegalPerson("Raw", "Test Organisation", "NTRCH-1", "CH")
VERSIONS = ("v2", "v1")


async def ids(api: Any) -> dict[str, str]:
    """What a good body has: the ids of two credentials, and a SAD of each that holds."""
    raw = await raw_credentials(api.operator, now).create(
        api.account, SUBJECT, algorithm=KeyAlgorithm.P256
    )
    csc, found = Csc(api), {"seal": api.seal, "raw": raw.id}
    # A timestamp is for a signature at B-LTA that waits for it.
    sad = await csc.authorised(api.seal, "before")
    before = await csc.sign_doc(sad, "before", conformance_level="Ades-B-LTA")
    assert before.status_code == 200, before.text
    for name, credential in list(found.items()):
        found[f"{name} SAD"] = await csc.authorised(credential, "a prepared document")
    return found


async def kept(api: Any) -> tuple[Any, ...]:
    """Calls that are left, what was signed, and what may be."""
    async with api.operator.database.read() as connection:
        return await api.left(), *[
            await connection.scalar(select(func.count()).select_from(table))
            for table in (signatures, authorisations)
        ]


async def sent(api: Any, version: str, endpoint: Endpoint, hostile: Hostile, body: bytes) -> Any:
    headers = {
        "authorization": f"Bearer {api.token}",
        "content-type": "application/json",
    }
    for name, value in hostile.headers.items():
        headers.pop(name, None)
        if value is not None:
            headers[name] = value
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return await api.http.post(f"/csc/{version}/{endpoint.path}", content=body, headers=raw)


def test_each_is_refused_as_the_csc_api_does_and_nothing_is_signed(service) -> None:
    async def scenario(api) -> None:
        known, seen = await ids(api), Counter[str]()
        before = await kept(api)
        for endpoint in CSC:
            base = {name: filled(value, known) for name, value in endpoint.base.items()}
            # Both versions have one reader; each gets half.
            for number, hostile in enumerate(every(endpoint, base)):
                version = VERSIONS[number % 2]
                body = endpoint.body(hostile.body, known)
                answer = await sent(api, version, endpoint, hostile, body)
                said = f"{endpoint.path}: {hostile.label}: {answer.status_code} {answer.text[:200]}"
                assert 400 <= answer.status_code < 500, said
                assert answer.headers["content-type"] == "application/json", said
                assert set(answer.json()) == {"error", "error_description"}, said
                assert answer.json()["error"] in ERRORS, said
                assert CANARY not in answer.text, said
                seen[endpoint.path] += 1
        assert len(seen) == len(CSC)
        assert min(seen.values()) >= 300, seen
        assert await kept(api) == before
        assert CANARY not in api.log.getvalue()
        # What they were made from is accepted: they were refused for what was done to them.
        for endpoint in reversed(CSC):
            base = {name: filled(value, known) for name, value in endpoint.base.items()}
            good = Hostile("as it is", json.dumps(base).encode())
            body = endpoint.body(good.body, known)
            answer = await sent(api, VERSIONS[0], endpoint, good, body)
            assert answer.status_code == 200, (endpoint.path, answer.text)

    service(scenario)
