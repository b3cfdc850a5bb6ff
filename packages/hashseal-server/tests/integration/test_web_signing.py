"""Sign over HTTP: answers, refusals, money, idempotency."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from hashseal_core import cms, evidence, tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm, KeyAlgorithm
from hashseal_server.audit import first_bad
from hashseal_server.pki.model import LegalPerson

CANARY = "canary-7b1f"
OTHER = LegalPerson("Other Seal", "Other Organisation", "NTRCH-2", "CH")


def digest_of(words: str) -> Digest:
    return Digest(DigestAlgorithm.SHA256, hashlib.sha256(words.encode()).digest())


@pytest.mark.parametrize("level", ["B-B", "B-T", "B-LT", "B-LTA"])
def test_three_distinct_parts_by_level(service, level: str) -> None:
    async def scenario(api) -> None:
        answer = await api.sign("one", "two", level=level)
        assert answer.status_code == 200, answer.text
        parts = answer.json()
        assert [s["hash"] for s in parts["signatures"]] == [
            base64.b64encode(digest_of(t).value).decode() for t in ("one", "two")
        ]
        seal = (await api.get(f"/v1/seals/{api.seal}")).json()
        for words, made in zip(("one", "two"), parts["signatures"], strict=True):
            der = base64.b64decode(made["signature"])
            assert len(der) <= seal["signature_size"]
            data = cms.parse(der)
            cms.check(data, digest_of(words))
            assert (made["timestamp"] is None) == (level == "B-B")
            if made["timestamp"]:
                token = base64.b64decode(made["timestamp"]["token"])
                assert token == data.timestamp_token
                tsp.check_token(token, tsp.imprint_of(data.signature_value))
        assert (parts["validation"] is None) == (level in {"B-B", "B-T"})
        if parts["validation"]:
            found = parts["validation"]
            material = evidence.ValidationMaterial(
                *(
                    tuple(base64.b64decode(x) for x in found[name])
                    for name in ("certificates", "ocsp_responses", "crls")
                )
            )
            leaves = [data.signing_certificate, tsp.parse_token(token).signing_certificate]
            at = datetime.now(UTC)
            assert evidence.assess(leaves, material, at=at).complete
        assert parts["charged"] == 2
        assert parts["balance"] == {"free": 98, "paid": 0}

    service(scenario)


REFUSED = [
    ({"level": "B-X"}, 400, "invalid-value"),
    ({"hash_algorithm": "SHA-1"}, 400, "weak-algorithm"),
    ({"hash_algorithm": "SHA-999"}, 400, "unsupported-algorithm"),
    ({"hash_algorithm": "SHA-512"}, 400, "hash-length"),
    ({"hashes": []}, 400, "invalid-value"),
    ({"hashes": [base64.b64encode(bytes(32)).decode()]}, 400, "degenerate-hash"),
    ({"hashes": [base64.b64encode(hashlib.sha256().digest()).decode()]}, 400, "degenerate-hash"),
    ({"hashes": [hashlib.sha256(b"x").hexdigest()]}, 400, "hash-length"),
    ({"hashes": ["not base64"]}, 400, "invalid-value"),
    ({"hashes": ["LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE"]}, 400, "invalid-value"),
    ({"document": CANARY}, 400, "unknown-field"),
    (
        {"hashes": [base64.b64encode(f"%PDF-1.7 {CANARY}".encode()).decode()]},
        415,
        "document-refused",
    ),
    ({"seal_id": f"%PDF {CANARY}"}, 415, "document-refused"),
    ({"seal_id": "0000000000000000"}, 404, "seal-not-found"),
]


@pytest.mark.parametrize(("changes", "status", "code"), REFUSED)
def test_refused_without_charge(service, changes: dict, status: int, code: str) -> None:
    async def scenario(api) -> None:
        answer = await api.sign("one", **changes)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert CANARY not in answer.text
        assert await api.left() == (100, 0)
        assert (await api.get("/v1/signatures")).json()["signatures"] == []

    service(scenario)


def test_documents_in_any_form_leave_no_trace(service, tmp_path: Path, capfd) -> None:
    pdf = f"%PDF-1.7\n{CANARY}\n%%EOF".encode()
    big = f"{CANARY}".encode() * 30_000

    async def scenario(api) -> None:
        bodies = [
            (pdf, "application/pdf", 415, "document-refused"),
            (pdf, "application/octet-stream", 415, "document-refused"),
            (pdf, "multipart/form-data; boundary=x", 415, "document-refused"),
            (pdf, "application/json", 415, "document-refused"),
            (pdf, "text/plain", 415, "unsupported-media-type"),
            (b'{"a', "application/json", 400, "malformed-request"),
            (b'{"hash_algorithm": "\xff"}', "application/json", 400, "malformed-request"),
            (big, "application/json", 413, "body-too-large"),
        ]
        for body, media_type, status, code in bodies:
            for path in ("/v1/documents/sign", "/v1/timestamps"):
                answer = await api.post(path, body, content_type=media_type)
                assert (answer.status_code, answer.json()["code"]) == (status, code)
                assert CANARY not in answer.text
        assert await api.left() == (100, 0)

    service(scenario)
    written = b"".join(p.read_bytes() for p in (tmp_path / "service").rglob("*") if p.is_file())
    assert CANARY.encode() not in written
    assert CANARY not in "".join(capfd.readouterr())


def test_who_may_not(service) -> None:
    async def scenario(api) -> None:
        good = api.token
        for token, code in ((None, "token-missing"), ("hs_x", "token-invalid")):
            headers = {"authorization": f"Bearer {token}"} if token else {}
            answer = await api.http.post("/v1/documents/sign", json={}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, code)
        api.token = good[:-1] + ("0" if good[-1] != "0" else "1")
        assert (await api.sign("one")).json()["code"] == "token-invalid"
        api.token = good

        other = await api.operator.accounts.create("Other Organisation")
        book = await api.operator.seals()
        foreign = await book.create(other.id, OTHER, kind="invoice", algorithm=KeyAlgorithm.P256)
        absent, theirs = (
            await api.sign("x", seal_id="0" * 16),
            await api.sign("x", seal_id=foreign.id),
        )
        hide = ("request_id",)
        assert {k: v for k, v in absent.json().items() if k not in hide} == {
            k: v for k, v in theirs.json().items() if k not in hide
        }
        await api.operator.accounts.set_entitlement(api.account, "documents", granted=False)
        refused = await api.sign("one")
        assert (refused.status_code, refused.json()["code"]) == (403, "entitlement-missing")
        await api.operator.accounts.set_entitlement(api.account, "documents", granted=True)
        assert (await api.sign("one")).status_code == 200
        await book.revoke(api.account, api.seal, "keyCompromise")
        revoked = await api.sign("two")
        assert (revoked.status_code, revoked.json()["code"]) == (409, "seal-revoked")
        assert await api.left() == (99, 0)
        missing = await api.http.post(
            "/v1/documents/sign", json={}, headers={"authorization": f"Bearer {api.token}"}
        )
        assert missing.json()["code"] == "idempotency-key-missing"
        assert (await api.sign("a", key="a b")).json()["code"] == "idempotency-key-invalid"

    service(scenario)


def test_one_hundred_free_calls_then_money(service) -> None:
    async def scenario(api) -> None:
        assert (await api.sign(*[f"t{n}" for n in range(99)])).status_code == 200
        too_many = await api.sign("a", "b")
        assert (too_many.status_code, too_many.json()["code"]) == (402, "quota-exhausted")
        assert await api.left() == (1, 0)
        assert (await api.sign("a")).status_code == 200
        assert (await api.sign("b")).status_code == 402
        order = await api.operator.accounts.record_order(api.account, 1000)
        assert str(order.unit_price) == "0.45"
        assert (await api.sign("b", "c")).json()["balance"] == {"free": 0, "paid": 998}
        usage = (await api.get("/v1/usage")).json()
        assert usage["unit_price"] == "0.49"
        assert usage["rows"][0]["amount"] == "0.90"
        assert usage["rows"][0]["calls"] == 102
        assert usage["orders"][0]["amount"] == "450.00"
        assert (await api.get(f"/v1/orders/{order.id}")).json()["calls"] == 1000
        assert (await api.get("/v1/orders/none")).status_code == 404
        assert (await api.get("/v1/usage?from=2001-01-01&to=2002-01-01")).json()["rows"] == []
        assert (await api.get("/v1/usage?from=yesterday")).json()["field"] == "from"

    service(scenario)


def test_i03_one_key_one_answer_one_charge(service) -> None:
    async def scenario(api) -> None:
        answers = await asyncio.gather(
            *(api.sign("one", key="same", level="B-T") for _ in range(64))
        )
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        assert await api.left() == (99, 0)
        assert (await api.sign("one", key="same", level="B-T")).content == answers[0].content
        other = await api.sign("two", key="same")
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
        assert await api.left() == (99, 0)

    service(scenario)


def test_the_document_timestamp_is_free_once(service) -> None:
    async def scenario(api) -> None:
        made = (await api.sign("one", level="B-LTA")).json()["signatures"][0]
        words = base64.b64encode(digest_of("file").value).decode()
        body = {"hash": words, "signature_id": made["id"]}
        first = await api.post("/v1/timestamps", body, key="stamp")
        assert first.status_code == 200
        token = base64.b64decode(first.json()["timestamp"]["token"])
        tsp.check_token(token, digest_of("file"))
        assert (await api.post("/v1/timestamps", body, key="stamp")).content == first.content
        again = await api.post("/v1/timestamps", body)
        assert (again.status_code, again.json()["code"]) == (409, "follow-up-used")
        absent = await api.post("/v1/timestamps", {**body, "signature_id": "none"})
        assert (absent.status_code, absent.json()["code"]) == (404, "signature-not-found")
        assert await api.left() == (99, 0)

    service(scenario)


def test_log_pages_and_audit(service) -> None:
    async def scenario(api) -> None:
        await api.sign(*[f"t{n}" for n in range(60)])
        await api.operator.accounts.record_order(api.account, 100)
        await api.sign(*[f"u{n}" for n in range(60)])
        page = (await api.get("/v1/signatures")).json()
        assert len(page["signatures"]) == 100
        rest = (await api.get(f"/v1/signatures?after={page['next']}")).json()
        assert len(rest["signatures"]) == 20
        assert "next" not in rest or rest["next"] is None
        one = page["signatures"][0]
        assert (await api.get(f"/v1/signatures/{one['id']}")).json() == one
        assert (await api.get("/v1/signatures?after=zz")).json()["code"] == "invalid-value"
        audit = api.operator.audit
        assert await audit.sequence() > 0
        entries = await audit.entries()
        kinds = [entry.event for entry in entries]
        assert kinds.count("documents.signed") == 2
        assert set(kinds) >= {
            "account.created",
            "token.created",
            "certificate.issued",
            "seal.created",
            "order.recorded",
        }
        assert first_bad(entries) is None
        changed = [entries[0].__class__(**{**vars_of(entries[0]), "event": "x"}), *entries[1:]]
        assert first_bad(changed) is changed[0]
        assert first_bad(entries[1:]) is entries[1]

    service(scenario)


def vars_of(entry) -> dict:
    return {name: getattr(entry, name) for name in entry.__slots__}


def test_ledger_and_audit_are_append_only(service) -> None:
    async def scenario(api) -> None:
        await api.sign("one")
        for statement in (
            "UPDATE ledger SET free = 5",
            "DELETE FROM ledger",
            "UPDATE audit_record SET event = 'x'",
            "DELETE FROM audit_record",
        ):
            with pytest.raises(Exception, match="cannot record"):
                async with api.operator.database.write() as connection:
                    await connection.execute(text(statement))

    service(scenario)
