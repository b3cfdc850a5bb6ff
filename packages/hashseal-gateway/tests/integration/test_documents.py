"""PDF in, signed PDF out: one round trip, and what it says on the way."""

from __future__ import annotations

import hashlib
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import generated_pdfs
import pytest

from hashseal import validation

PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())
SIGN = "/v1/documents/sign"
JAVASCRIPT = generated_pdfs.with_table(
    {
        **generated_pdfs.one_page(),
        1: b"<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >> >>",
    }
)


@pytest.mark.tools
@pytest.mark.parametrize("level", ["B-B", "B-T", "B-LT", "B-LTA"])
def test_one_call_signs_a_document(house, caller, tmp_path: Path, level: str) -> None:
    before = house.left()
    answer = caller.sign(level=level, reason="approved", location="Zürich", external_id="inv-1")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["hashseal-level"] == level
    assert answer.headers["hashseal-signature-id"]
    assert answer.content.startswith(PLAIN)
    for name, octets in (("before", PLAIN), ("after", answer.content)):
        digest = hashlib.sha256(octets).hexdigest()
        assert answer.headers[f"hashseal-digest-{name}"] == f"sha-256={digest}"
    assert house.left() == before - 1
    assert house.strays() == set()
    signed = tmp_path / "signed.pdf"
    signed.write_bytes(answer.content)
    report = validation.validate(signed, [house.anchor.read_bytes()])
    assert (report.verdict, report.signatures[0].level) == ("valid", level), report
    said = subprocess.run(["pdfsig", "-nocert", signed], check=True, capture_output=True, text=True)
    assert "Signature is Valid." in said.stdout


def test_options_in_a_part_of_their_own(house, caller, tmp_path: Path) -> None:
    options = {
        "seal": caller.seal,
        "certify": "form-filling",
        "field_name": "Author",
        "reason": "合同",
    }
    parts = {
        "options": (None, json.dumps(options), "application/json"),
        "document": ("contract.pdf", PLAIN, "application/pdf"),
    }
    answer = caller.http.post("/v1/documents", files=parts)
    assert answer.status_code == 200, answer.text
    assert b"/T (Author)" in answer.content
    assert b"/DocMDP" in answer.content
    again = caller.sign(answer.content, certify="form-filling")
    assert (again.status_code, again.json()["code"]) == (422, "pdf-certified")


def test_an_encrypted_file_needs_its_password(house, caller, tmp_path: Path) -> None:
    source, locked = tmp_path / "in.pdf", tmp_path / "locked.pdf"
    source.write_bytes(PLAIN)
    subprocess.run(
        ["qpdf", "--encrypt", "secret-word", "owner", "256", "--", source, locked], check=True
    )
    refused = caller.sign(locked.read_bytes())
    assert (refused.status_code, refused.json()["code"]) == (422, "pdf-password-required")
    options = json.dumps({"seal": caller.seal, "password": "secret-word", "reason": "with a word"})
    parts = {"document": ("a.pdf", locked.read_bytes()), "options": (None, options)}
    answers = [
        caller.http.post("/v1/documents", files=parts, headers={"Idempotency-Key": "locked-1"})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    assert answers[0].content == answers[1].content  # derived vectors: prepared to the same octets
    asked = caller.http.post(
        "/v1/documents?password=x", content=PLAIN, headers={"Content-Type": "application/pdf"}
    )
    assert (asked.status_code, asked.json()["field"]) == (400, "password")


@pytest.mark.parametrize(
    ("document", "query", "headers", "status", "code"),
    [
        (b"no document", {}, {}, 422, "pdf-malformed"),
        (b"", {}, {}, 400, "invalid-value"),
        (PLAIN, {"level": "B-X"}, {}, 400, "invalid-value"),
        (PLAIN, {"colour": "red"}, {}, 400, "unknown-field"),
        (PLAIN, {"appearance": "somewhere"}, {}, 400, "invalid-value"),
        (PLAIN, {"reason": "x\u202ey"}, {}, 400, "invalid-value"),
        (PLAIN, {"seal": "no-such-seal"}, {}, 404, "seal-not-found"),
        (PLAIN, {}, {"Content-Type": "text/plain"}, 415, "unsupported-media-type"),
        (PLAIN, {}, {"Idempotency-Key": "with space"}, 400, "idempotency-key-invalid"),
        (PLAIN, {}, {"Authorization": "Bearer hsg_nothing"}, 401, "token-invalid"),
        (PLAIN, {}, {"Authorization": ""}, 401, "token-missing"),
        (JAVASCRIPT, {}, {}, 422, "pdf-policy"),
    ],
)
def test_what_cannot_be_signed_is_refused_and_costs_nothing(
    house, caller, document: bytes, query: dict, headers: dict, status: int, code: str
) -> None:
    before = house.left()
    answer = caller.http.post(
        "/v1/documents",
        content=document,
        params={"seal": caller.seal, **query},
        headers={"Content-Type": "application/pdf", **headers},
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["action"]
    assert house.left() == before
    assert house.strays() == set()


def test_a_repeated_call_gives_the_same_file_and_is_charged_once(house, caller, key: str) -> None:
    before = house.left()
    first = caller.sign(key=key, reason="once", level="B-LTA")
    second = caller.sign(key=key, reason="once", level="B-LTA")
    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    assert house.left() == before - 1
    found = house.client("auditor").get(
        "/v1/log", params={"digest": first.headers["hashseal-digest-after"]}
    )
    assert [one["outcome"] for one in found.json()["entries"]] == ["signed"]
    other = caller.sign(key=key, reason="twice")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


def test_a_call_whose_answer_was_lost_is_charged_once(house, caller, key: str) -> None:
    """The service signed, the wire broke: repeated, the same hash travels under the same key."""
    before = house.left()
    house.wire.change = lambda request, _: (503, b"{}") if request.url.path == SIGN else None
    lost = caller.sign(key=key)
    assert lost.status_code in {502, 503}, lost.text
    house.wire.change = None
    done = caller.sign(key=key)
    assert done.status_code == 200, done.text
    assert house.left() == before - 1
    hashes = {json.loads(body)["hashes"][0] for path, body in house.wire.calls if path == SIGN}
    assert len(hashes) == 1


def test_a_service_that_is_away_is_told_at_once(house, caller) -> None:
    house.wire.down = True
    answer = caller.sign()
    assert (answer.status_code, answer.json()["code"]) == (503, "service-unreachable")
    assert answer.json()["retryable"] is True
    assert answer.headers["retry-after"]
    assert house.strays() == set()


def test_a_service_that_does_not_know_the_gateway(house, caller) -> None:
    problem = {
        "type": "x",
        "title": "x",
        "status": 401,
        "code": "token-invalid",
        "detail": "x",
        "action": "x",
    }
    house.wire.change = lambda *_: (401, json.dumps(problem).encode())
    answer = caller.sign()
    assert (answer.status_code, answer.json()["code"]) == (500, "configuration-invalid")
    assert "administrator" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("quota-exhausted", 402),
        ("seal-revoked", 409),
        ("seal-expired", 409),
        ("timestamp-unavailable", 503),
        ("evidence-unavailable", 503),
        ("overloaded", 503),
        ("rate-limited", 429),
    ],
)
def test_what_the_service_refuses_is_told_as_it_is(house, caller, code: str, status: int) -> None:
    problem = {
        "type": "x",
        "title": "x",
        "status": status,
        "code": code,
        "detail": "no",
        "action": "x",
    }
    refusal = status, json.dumps(problem).encode()
    house.wire.change = lambda request, _: refusal if request.url.path == SIGN else None
    answer = caller.sign()
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["retryable"] is (status in {503, 429})
    assert ("retry-after" in answer.headers) is (status in {503, 429})
    entries = caller.http.get("/v1/log", params={"limit": "1"}).json()["entries"]
    assert entries[0]["outcome"] == code


def test_what_a_key_may_not(house, caller) -> None:
    assert house.client("auditor").post("/v1/documents", content=PLAIN).status_code == 403
    other = house.service.seal_ids["RSA-3072"]
    _, text = house.do(house.gateway.office.users.create_key("narrow", seals=frozenset({other})))
    narrow = type(caller)(house.client(key=text), caller.seal)
    assert narrow.sign().json()["code"] == "seal-not-found"
    assert narrow.sign(seal=other).status_code == 200
    shown = narrow.http.get("/v1/seals").json()["seals"]
    assert [one["id"] for one in shown] == [other]
    (key,) = [one for one in house.do(house.gateway.office.users.keys()) if one.name == "narrow"]
    house.do(house.gateway.office.users.revoke_key(key.id))
    assert narrow.sign(seal=other).json()["code"] == "token-invalid"


def test_the_same_key_many_times_at_once(house, caller, key: str) -> None:
    before = house.left()
    clients = [type(caller)(house.client(), caller.seal) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda one: one.sign(key=key), clients))
    assert [answer.status_code for answer in answers] == [200] * 6, answers[0].text
    assert len({answer.content for answer in answers}) == 1
    assert house.left() == before - 1
    digest = answers[0].headers["hashseal-digest-after"]
    entries = house.client("auditor").get("/v1/log", params={"digest": digest}).json()["entries"]
    assert [one["outcome"] for one in entries] == ["signed"]


def test_a_large_document_is_streamed(house, caller, key: str) -> None:
    padding = generated_pdfs.stream("", bytes(range(256)) * 24_000)
    document = generated_pdfs.with_table({**generated_pdfs.one_page(), 7: padding})
    answer = caller.sign(document, level="B-LTA")
    assert answer.status_code == 200, answer.text[:300]
    assert answer.content.startswith(document)
    digest = hashlib.sha256(answer.content).hexdigest()
    assert answer.headers["hashseal-digest-after"] == f"sha-256={digest}"
    assert int(answer.headers["content-length"]) == len(answer.content)
    made = caller.sign(document, key=key, later=True).json()
    found = caller.until(made["id"], "signed")
    assert caller.http.get(found["content_url"]).content.startswith(document)
    caller.until(made["id"], "delivered")


def test_a_disk_that_is_full(house, caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hashseal_gateway.web.upload.os.fdopen", full)
    answer = caller.sign()
    assert (answer.status_code, answer.json()["code"]) == (503, "storage-unavailable")
    assert house.strays() == set()
