"""Seals that are seen: where they were asked for, from defaults, the same after a crash."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import generated_pdfs
import inking
import pikepdf
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.keys import load_certs_from_pemder_data
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from hashseal_server.seals.drawing import SealData, draw

PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())
SIGN = "/v1/documents/sign"
BOX = {"left": 60, "top": 75, "width": 30, "height": 20, "unit": "percent"}


def two_pages() -> bytes:
    objects = generated_pdfs.one_page()
    objects[2] = b"<< /Type /Pages /Kids [3 0 R 7 0 R] /Count 2 >>"
    objects[7] = objects[3]
    return generated_pdfs.with_table(objects)


def with_field() -> bytes:
    """One page with a text field in its middle."""
    objects = generated_pdfs.one_page()
    objects[1] = b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [7 0 R] >> >>"
    objects[3] = objects[3].replace(b"/Contents", b"/Annots [7 0 R] /Contents")
    objects[7] = (
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (Name) /P 3 0 R /F 4"
        b" /Rect [200 280 220 300] >>"
    )
    return generated_pdfs.with_table(objects)


def send(caller, document: bytes, appearance: object, **more: object):
    asked = {"seal": caller.seal, "level": "B-B", "appearance": appearance, **more}
    parts = {"document": ("a.pdf", document), "options": (None, json.dumps(asked))}
    return caller.http.post("/v1/documents", files=parts)


def seen(octets: bytes, page: int = -1) -> tuple[list[float], str]:
    """Rectangle and alternative text of the last annotation of a page."""
    with pikepdf.open(io.BytesIO(octets)) as document:
        made = document.pages[page].Annots[-1]
        return [float(one) for one in made.Rect], str(made.get("/Contents", ""))


def rect(octets: bytes, page: int = -1) -> list[float]:
    return seen(octets, page)[0]


def require_valid(octets: bytes, path: Path, anchor: Path) -> None:
    """Poppler and pyHanko call the signature valid, over the whole file."""
    path.write_bytes(octets)
    said = subprocess.run(["pdfsig", "-nocert", path], check=True, capture_output=True, text=True)
    assert "Signature is Valid." in said.stdout
    assert "Total document signed" in said.stdout
    root = x509.load_pem_x509_certificate(anchor.read_bytes())
    context = ValidationContext(
        trust_roots=list(load_certs_from_pemder_data(root.public_bytes(Encoding.PEM)))
    )
    with path.open("rb") as file:
        (signature,) = PdfFileReader(file).embedded_signatures
        status = validate_pdf_signature(signature, context)
    assert status.bottom_line, status.summary()


@pytest.fixture
def defaults(house, seal: str) -> Iterator[object]:
    """Says defaults of the seal, and takes them back."""
    administrator = house.client("seal-administrator")

    def put(appearance: object):
        path = f"/v1/seals/{seal}/defaults"
        return administrator.put(path, json={"defaults": {"appearance": appearance}})

    yield put
    assert put(None).status_code == 200


@pytest.mark.tools
def test_a_box_in_percent_on_the_last_page(house, caller, tmp_path: Path) -> None:
    before, document = house.left(), two_pages()
    source, target = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(document)
    appearance = {"page": "last", "box": BOX, "style": "seal-and-text", "hint": "Ask us"}
    answer = send(caller, document, appearance, reason="approved")
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(document)
    require_valid(answer.content, target, house.anchor)
    assert rect(answer.content) == pytest.approx([252, 29.75, 378, 148.75], abs=0.01)
    words = seen(answer.content)[1]
    for part in ("Signed by", "Reason: approved", f"Seal: {caller.seal}", "Ask us"):
        assert part in words
    assert inking.difference(inking.poppler(source, 1), inking.poppler(target, 1)) is None
    ink = inking.difference(inking.poppler(source, 2), inking.poppler(target, 2))
    assert ink is not None
    inside = (ink.left - 252, ink.top - 446.25, 378 - ink.right, 565.25 - ink.bottom)
    assert min(inside) > -0.6
    assert ink.right - ink.left > 100
    assert house.left() == before - 1
    assert house.strays() == set()


@pytest.mark.tools
def test_over_words_of_the_page(house, caller, tmp_path: Path) -> None:
    appearance = {"page": "any", "anchor": {"text": "test organisation"}, "size": 40}
    answer = send(caller, PLAIN, appearance)
    assert answer.status_code == 200, answer.text
    require_valid(answer.content, tmp_path / "out.pdf", house.anchor)
    left, bottom, right, top = rect(answer.content)
    assert 60 < (left + right) / 2 < 210  # the words stand at 60, 400, and are about 150 wide
    assert (bottom + top) / 2 == pytest.approx(406, abs=4)
    absent = send(caller, PLAIN, {"anchor": {"text": "nowhere"}})
    assert (absent.status_code, absent.json()["code"]) == (422, "pdf-no-place"), absent.text


def test_a_place_in_the_query_and_what_it_covers(house, caller) -> None:
    answer = caller.sign(with_field(), level="B-B", appearance="1:40%,40%,20%,20%")
    assert answer.status_code == 200, answer.text
    assert answer.headers["hashseal-findings"].split(", ")[-1] == "covered-field"
    beyond = caller.sign(appearance="1:400,10,100,10")
    assert (beyond.status_code, beyond.json()["code"]) == (422, "pdf-no-place")
    once = caller.sign(two_pages(), level="B-B").content
    second = caller.sign(once, level="B-B", appearance="every")
    assert second.status_code == 422, second.text[:300]


def test_defaults_of_a_seal(house, caller, defaults, seal: str) -> None:
    made = defaults({"position": "top-left", "size": 60, "style": "seal-and-text"})
    assert made.status_code == 200, made.text
    shown = {one["id"]: one for one in caller.http.get("/v1/seals").json()["seals"]}
    assert shown[seal]["defaults"]["appearance"]["position"] == "top-left"
    left, _, right, top = rect(caller.sign(level="B-B").content)
    assert (left, top) == pytest.approx((21, 595 - 21), abs=0.01)
    assert right - left == pytest.approx(60, abs=0.01)
    plain = caller.sign(level="B-B", appearance="none").content
    assert rect(plain) == [0, 0, 0, 0]
    own = caller.sign(level="B-B", appearance="last:250,300,150,75").content
    assert rect(own) == pytest.approx([250, 220, 400, 295], abs=0.01)
    assert "Signed by" in seen(own)[1]  # the style is the default's still
    for wrong, code in (({"position": "centre"}, "invalid-value"), ({"x": 1}, "unknown-field")):
        assert defaults(wrong).json()["code"] == code
    assert defaults("nowhere").json()["field"] == "appearance"
    assert defaults("last:bottom").json()["defaults"]["appearance"] == {
        "page": "last",
        "position": "bottom",
    }


def test_a_picture_is_fetched_once_and_another_is_refused(house, caller, seal: str) -> None:
    service, path = house.gateway.service, f"/v1/seals/{seal}/appearance"
    service._pictures.clear()
    before = house.left()
    other = draw(SealData("official", "Somebody else")).svg()
    house.wire.change = lambda request, _: (200, other) if request.url.path == path else None
    lied = caller.sign(appearance="last")
    assert (lied.status_code, lied.json()["code"]) == (502, "answer-mismatch"), lied.text
    assert house.left() == before
    house.wire.change = None
    house.wire.calls.clear()
    answers = [caller.sign(level="B-B", appearance="last") for _ in range(3)]
    assert [one.status_code for one in answers] == [200] * 3
    assert house.wire.count(path) == 1
    assert house.left() == before - 3


def test_a_crash_makes_the_same_hash_and_is_charged_once(
    house, caller, defaults, seal: str, key: str
) -> None:
    """The service signed, its answers were lost, and so was all that can be made again."""
    path = f"/v1/seals/{seal}/appearance"
    before = house.left()
    assert defaults({"position": "middle", "style": "seal-and-text"}).status_code == 200
    house.wire.change = lambda request, _: (503, b"{}") if request.url.path == SIGN else None
    made = caller.sign(two_pages(), later=True, key=key, level="B-B", reason="same")
    caller.until(made.json()["id"], "waiting")
    defaults("every:top")
    (house.folder / "gateway" / "documents" / made.json()["id"] / "prepared.pdf").unlink()
    house.gateway.service._pictures.clear()
    house.gateway.service._remembered.clear()
    house.wire.change = None
    found = caller.until(made.json()["id"], "signed", "failed")
    assert found["state"] == "signed", found
    assert house.left() == before - 1
    hashes = [json.loads(body)["hashes"][0] for one, body in house.wire.calls if one == SIGN]
    assert len(hashes) >= 2
    assert len(set(hashes)) == 1
    assert house.wire.count(path) >= 1
    content = caller.http.get(found["content_url"]).content
    assert hashlib.sha256(content).hexdigest() == found["digest_after"]
    left, _, right, _ = rect(content)
    assert (left + right) / 2 == pytest.approx(210, abs=0.01)


def test_a_repeated_call_gives_the_same_file(house, caller, defaults, key: str) -> None:
    before = house.left()
    assert defaults("last:left").status_code == 200
    first = caller.sign(key=key, level="B-B")
    assert defaults("last:right").status_code == 200
    house.gateway.service._pictures.clear()
    second = caller.sign(key=key, level="B-B")
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.content == second.content
    assert house.left() == before - 1


def test_every_document_of_a_batch(house, caller, key: str) -> None:
    asked = {"seal": caller.seal, "level": "B-B", "appearance": {"page": "every", "box": BOX}}
    parts = [("document", (f"{n}.pdf", two_pages() + b"%" * n)) for n in range(2)]
    parts.append(("options", (None, json.dumps(asked))))
    made = caller.http.post("/v1/batches", files=parts, headers={"Idempotency-Key": key})
    assert made.status_code == 202, made.text
    for one in made.json()["documents"]:
        found = caller.until(one["id"], "signed", "failed")
        content = caller.http.get(found["content_url"]).content
        assert rect(content, 0) == rect(content, 1)


def test_a_seal_whose_picture_is_drawn_when_it_is_first_used(house, caller, seal: str) -> None:
    service = house.gateway.service

    def change(request, octets: bytes) -> tuple[int, bytes] | None:
        if request.url.path not in {"/v1/seals", f"/v1/seals/{seal}"}:
            return None
        told = json.loads(octets)
        for one in told.get("seals", [told]):
            one["appearance_digest"] = None
        return 200, json.dumps(told).encode()

    service._remembered.clear()
    house.wire.change = change
    try:
        answer = caller.sign(level="B-B", appearance="last:top")
    finally:
        service._remembered.clear()
    assert answer.status_code == 200, answer.text[:300]
    assert "seal" in seen(answer.content)[1].lower()
