"""I16: of a document nothing reaches the service, its database or any log; captured on the wire."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import generated_pdfs
import leaking
import needles
import pytest

from hashseal_gateway.documents.folder import Folders, Watch
from hashseal_gateway.documents.options import DocumentOptions

TEXT, TITLE = "canary-text-q7w3-8d0f2c", "canary-title-k2m9-77aa10"
NAME, EXTERNAL = "canary-file-z5x1-4c9e3b", "canary-external-p3l8-5512ff"
REASON, PLACE = "canary-reason-h6j2-b01d44", "canary-place-t4r7-e9c2a8"
FIELD, PASSWORD = "canary-field-n8b6-3f3f19", "canary-password-v1c0-6a7b8c"
WORDS = (TEXT, TITLE, NAME, REASON, PLACE, FIELD, EXTERNAL, PASSWORD)
DOCUMENT = generated_pdfs.with_table(generated_pdfs.one_page(text=TEXT, title=TITLE))


def leaks(octets: bytes) -> list[str]:
    """Words that stand there: in clear, hexadecimal, base64, UTF-16."""
    return [
        word
        for word in WORDS
        if any(
            form in octets
            for text in (word.encode(), word.encode("utf-16-be"), word.encode("utf-16-le"))
            for form in needles.written(text)
        )
    ]


def options_of(seal: str, level: str = "B-LT") -> dict[str, object]:
    return {
        "seal": seal,
        "level": level,
        "reason": REASON,
        "location": PLACE,
        "field_name": FIELD,
        "external_id": EXTERNAL,
    }


def send(caller, document: bytes, level: str = "B-LTA", **headers: str):
    options = options_of(caller.seal, level)
    parts = {
        "document": (f"{NAME}.pdf", document, "application/pdf"),
        "options": (None, json.dumps(options)),
    }
    return caller.http.post("/v1/documents", files=parts, headers=headers)


def everything(house) -> dict[str, bytes]:
    """All that passed, and all that the service and the logs keep."""
    kept = [content for _, content in leaking.contents(house.folder / "service")]
    return {
        "traffic": b"\n".join(house.wire.traffic),
        "service": b"\n".join(kept),
        "log": house.log.getvalue().encode(),
    }


def test_signing_at_once_and_later(house, caller, key: str) -> None:
    done = send(caller, DOCUMENT)
    assert done.status_code == 200, done.text
    assert leaks(done.content), "the canaries are in the file"
    later = send(caller, DOCUMENT, **{"Prefer": "respond-async", "Idempotency-Key": key})
    caller.until(later.json()["id"], "signed")
    assert house.wire.count() >= 2
    nothing_left(house)


@pytest.mark.parametrize("fault", ["policy", "malformed", "refused", "down"])
def test_errors(house, caller, fault: str) -> None:
    document = DOCUMENT
    if fault == "malformed":
        document = b"%PDF-1.7 " + TEXT.encode() * 50
    if fault == "policy":
        action = f"/OpenAction << /S /JavaScript /JS ({TEXT}) >> >>".encode()
        objects = generated_pdfs.one_page(text=TEXT)
        objects[1] = objects[1].replace(b">>", action)
        document = generated_pdfs.with_table(objects)
    if fault == "refused":
        house.wire.change = lambda *_: (200, b"[]")
    house.wire.down = fault == "down"
    answer = send(caller, document, level="B-T")
    assert answer.status_code >= 400, fault
    assert leaks(answer.content) == []
    found = everything(house)
    assert {place: leaks(octets) for place, octets in found.items()} == {key: [] for key in found}


def test_a_seal_that_is_seen_and_a_password(house, caller, tmp_path: Path) -> None:
    """Words of the document are looked for, and words are written beside the seal."""
    locked = generated_pdfs.through_qpdf(
        DOCUMENT, tmp_path, "--encrypt", PASSWORD, "owner", "256", "--"
    )
    appearance = {"anchor": {"text": TEXT}, "page": "any", "style": "seal-and-text"}
    options = {**options_of(caller.seal), "appearance": appearance, "password": PASSWORD}
    for given, wanted in ((locked, 200), (DOCUMENT, 200), (locked[:-200], None)):
        parts = {"document": (f"{NAME}.pdf", given), "options": (None, json.dumps(options))}
        answer = caller.http.post("/v1/documents", files=parts)
        assert wanted in {answer.status_code, None}, answer.text
    nothing_left(house)


def test_a_batch(house, caller, key: str) -> None:
    """Some are signed, some are not, and the service is away for a while."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(f"{NAME}-1.pdf", DOCUMENT)
        archive.writestr(f"{NAME}-2.pdf", TEXT)
    options = options_of(caller.seal)
    headers = {"Idempotency-Key": key, "Content-Type": "application/zip"}
    house.wire.down = True
    query = {name: str(value) for name, value in options.items() if name != "external_id"}
    made = caller.http.post("/v1/batches", content=out.getvalue(), headers=headers, params=query)
    assert made.status_code == 202, made.text
    signed, broken = (one["id"] for one in made.json()["documents"])
    caller.until(signed, "waiting")
    house.wire.down = False
    caller.until(signed, "signed")
    caller.until(broken, "failed")
    nothing_left(house)


def test_a_watched_folder(house, seal: str, tmp_path: Path) -> None:
    folders = Folders(tmp_path / "in", tmp_path / "out", tmp_path / "failed")
    folders.inbox.mkdir()
    folders.prepare()
    for name, octets in ((f"{NAME}-1.pdf", DOCUMENT), (f"{NAME}-2.pdf", TEXT.encode())):
        path = folders.inbox / name
        path.write_bytes(octets)
        os.utime(path, (1, 1))
    options = DocumentOptions(seal=seal, reason=REASON, location=PLACE)
    watching = Watch(
        folders,
        house.gateway.documents,
        house.gateway.office.folder,
        options,
        at_once=2,
        most=1 << 20,
        tell=lambda _: None,
        waits=lambda _: None,
        now=house.gateway.work._now,
    )
    house.do(watching.run(until_empty=True))
    assert [one.name for one in folders.outbox.glob("*.pdf")] == [f"{NAME}-1.pdf"]
    nothing_left(house)


def nothing_left(house) -> None:
    found = everything(house)
    assert all(found.values()), "nothing was captured"
    assert {place: leaks(octets) for place, octets in found.items()} == {one: [] for one in found}


def test_verification_asks_nobody(house, caller) -> None:
    signed = send(caller, DOCUMENT).content
    house.wire.traffic.clear()
    answer = caller.http.post(
        "/v1/verify", content=signed, headers={"Content-Type": "application/pdf"}
    )
    assert answer.json()["report"]["verdict"] == "valid", answer.text
    assert house.wire.traffic == []
