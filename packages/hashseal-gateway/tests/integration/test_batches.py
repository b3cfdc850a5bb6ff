"""Many documents in one request: parts or a zip, each signed or refused by itself."""

from __future__ import annotations

import io
import time
import zipfile

import generated_pdfs
import pytest

PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())


def finished(caller, batch: str) -> dict:
    deadline = time.monotonic() + 120
    while True:
        found = caller.http.get(f"/v1/batches/{batch}").json()
        if not found["pending"]:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def zipped(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, octets in members:
            archive.writestr(name, octets)
    return out.getvalue()


def send_zip(caller, octets: bytes, key: str):
    headers = {"Content-Type": "application/zip", "Idempotency-Key": key}
    return caller.http.post(
        "/v1/batches", content=octets, headers=headers, params={"seal": caller.seal}
    )


def test_parts(house, caller, key: str) -> None:
    before = house.left()
    parts = [
        ("document", (f"{n}.pdf", PLAIN + b"%" + str(n).encode(), "application/pdf"))
        for n in range(5)
    ]
    parts.append(("document", ("bad.pdf", b"no document", "application/pdf")))
    parts.append(("options", (None, f'{{"seal": "{caller.seal}"}}')))
    headers = {"Idempotency-Key": key}
    answer = caller.http.post("/v1/batches", files=parts, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.json()["total"] == 6
    repeated = caller.http.post("/v1/batches", files=parts, headers=headers)
    assert repeated.json()["id"] == answer.json()["id"]
    found = finished(caller, answer.json()["id"])
    assert (found["signed"], found["failed"]) == (5, 1)
    assert [one["name"] for one in found["documents"]] == [f"{n}.pdf" for n in range(5)] + [
        "bad.pdf"
    ]
    assert found["documents"][5]["problem"]["code"] == "pdf-malformed"
    assert house.left() == before - 5
    for one in found["documents"][:5]:
        assert caller.http.get(one["content_url"]).content.startswith(PLAIN)
    assert house.client("seal-administrator").get(f"/v1/batches/{found['id']}").status_code == 404


def test_a_zip(house, caller, key: str) -> None:
    octets = zipped(("../../etc/a.pdf", PLAIN), ("folder/b.pdf", PLAIN + b"%b"))
    answer = send_zip(caller, octets, key)
    assert answer.status_code == 202, answer.text
    found = finished(caller, answer.json()["id"])
    assert [one["name"] for one in found["documents"]] == ["a.pdf", "b.pdf"]
    assert found["signed"] == 2


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: zipped(("a.pdf", bytes(101 << 20))), "document-too-large"),
        (lambda: zipped(*[(f"{n}.pdf", b"x") for n in range(1001)]), "invalid-value"),
        (zipped, "invalid-value"),
        (lambda: b"PK\x05\x06 no archive", "malformed-request"),
        (lambda: zipped(("a.pdf", PLAIN))[:-30], "malformed-request"),
    ],
    ids=["bomb", "many", "empty", "none", "cut"],
)
def test_archives_that_are_refused(house, caller, key: str, make, code: str) -> None:
    there = house.places()
    answer = send_zip(caller, make(), key)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["code"] == code
    assert house.places() == there


def test_a_batch_needs_a_key(house, caller) -> None:
    headers = {"Content-Type": "application/zip"}
    answer = caller.http.post("/v1/batches", content=zipped(("a.pdf", PLAIN)), headers=headers)
    assert answer.json()["code"] == "idempotency-key-missing"
