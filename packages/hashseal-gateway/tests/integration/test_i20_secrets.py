"""I20: of keys, passwords and authenticators' secrets nothing is left behind, also in error.

Every test of these premises is looked through at the end; here, that the look finds what it should.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import generated_pdfs
import leaking
import pytest
from premises import Premises, premises
from sqlalchemy import text

from hashseal_core.errors import TokenInvalid
from hashseal_gateway.documents.store import DocumentStore
from hashseal_gateway.users import totp
from hashseal_gateway.users.model import Role

WORD = "canary-of-a-document-8261"


@pytest.fixture
def locked(tmp_path: Path) -> bytes:
    """A file that opens with `WORD`."""
    plain, made = tmp_path / "plain.pdf", tmp_path / "locked.pdf"
    plain.write_bytes(generated_pdfs.with_table(generated_pdfs.one_page()))
    subprocess.run(["qpdf", "--encrypt", WORD, "owner", "256", "--", plain, made], check=True)
    return made.read_bytes()


def test_a_password_that_waits_with_its_document(house, caller, locked: bytes, key: str) -> None:
    house.wire.down = True
    parts = {"document": locked, "options": (None, json.dumps({"password": WORD}))}
    asked = {"Prefer": "respond-async", "Idempotency-Key": key}
    answer = caller.http.post(f"/v1/documents?seal={caller.seal}", files=parts, headers=asked)
    assert answer.status_code == 400, "options stand in one place"
    parts["options"] = (None, json.dumps({"password": WORD, "seal": caller.seal}))
    made = caller.http.post("/v1/documents", files=parts, headers=asked).json()
    caller.until(made["id"], "waiting")
    kept = house.do(house.gateway.document_store.password(made["id"]))
    assert kept, "it waits in the database"
    assert WORD.encode() in house.watch.secrets
    assert house.leaks(house.watch) == []
    house.wire.down = False
    caller.until(made["id"], "signed")
    assert house.do(house.gateway.document_store.password(made["id"])) is None


def test_people_and_keys_also_when_something_breaks(
    house, caller, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = house.gateway.office.users
    _, word = house.do(users.create_user(f"ada-{key}", Role.AUDITOR))
    secret, address = house.do(users.enrol_totp(f"ada-{key}"))
    for name, value in (("password", word), ("authenticator", secret), ("address", address)):
        house.watch.learn(name, value)
    with pytest.raises(TokenInvalid):
        house.do(users.log_in(f"ada-{key}", word, "000000"))
    code = totp.code_at(secret, int(house.gateway.documents._now().timestamp()) // 30)
    house.do(users.log_in(f"ada-{key}", word, code))
    full = house.keys["operator"]
    wrong = full[:-1] + ("0" if full[-1] != "0" else "1")
    answers = [
        house.client(key=wrong).get("/v1/seals"),
        caller.http.get(f"/v1/documents/{full}"),
        caller.http.get("/v1/log", params={"external_id": full, "outcome": full}),
        caller.http.post(f"/v1/documents?seal={full}", content=b"%PDF"),
        caller.http.put(f"/v1/seals/{full}/defaults", json={full: full}),
    ]

    async def explode(*_: object) -> None:
        raise RuntimeError(f"Bearer {full} and {house.service.token}")

    with monkeypatch.context() as broken:
        broken.setattr(DocumentStore, "find", explode)
        answers.append(caller.http.get(f"/v1/documents/{key}"))
    assert answers[-1].status_code == 500
    assert {one.status_code for one in answers} >= {401, 404, 500}
    assert "RuntimeError" in house.log.getvalue()
    assert house.leaks(house.watch) == []


def test_what_is_left_behind_is_found(tmp_path) -> None:
    """In each place of premises of its own, which keep what is planted in them."""
    with premises(tmp_path) as house:
        plant(house)


def plant(house: Premises) -> None:
    canary = "a-canary-that-was-left-behind-7319"
    seen = leaking.Watch({canary.encode(): "canary"})
    assert house.leaks(seen) == []
    house.log.write(canary)
    house.app._figures.answered("GET", f"/{canary}", 200, "", 0.1)
    (house.folder / "service" / "left").write_text(canary)
    seen.refusals.append(canary.encode())
    assert set(house.leaks(seen)) == {
        f"canary in {place}" for place in ("log", "figures", "service", "refusals")
    }

    async def keep() -> None:
        async with house.gateway.office.database.write() as connection:
            statement = text("UPDATE api_key SET name = :name WHERE id = :id")
            place = {"name": canary, "id": house.keys["operator"].split("_")[1]}
            await connection.execute(statement, place)

    house.do(keep())
    assert "canary in database" in house.leaks(seen)
    (house.folder / "gateway" / "left").write_text(canary)
    assert "canary in files" in house.leaks(seen)
