"""What a file is when it comes, it stays: signed, certified, encrypted, PDF/A, PDF/UA."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import generated_pdfs
import judgement
import leaking
import needles
import pytest
from archival import FORMS, archival_files, verapdf
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

pytestmark = pytest.mark.tools
PLAIN = generated_pdfs.with_table(generated_pdfs.one_page())
SEEN = {"page": "every", "position": "bottom-right", "style": "seal-and-text"}
PASSWORDS = ("pássword-of-the-user-4711", "password-of-the-owner-0815")


def with_fields(*names: str) -> bytes:
    """One page with empty signature fields."""
    objects = generated_pdfs.one_page()
    numbers = range(7, 7 + len(names))
    listed = " ".join(f"{number} 0 R" for number in numbers).encode()
    objects[1] = b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [" + listed + b"] >> >>"
    objects[3] = objects[3].replace(b"/Rotate 0", b"/Annots [" + listed + b"]")
    for number, name in zip(numbers, names, strict=True):
        objects[number] = (
            f"<< /Type /Annot /Subtype /Widget /FT /Sig /T ({name}) /P 3 0 R"
            f" /Rect [{40 * number} 40 {40 * number + 30} 70] /F 4 >>"
        ).encode()
    return generated_pdfs.with_table(objects)


def send(caller, document: bytes, **options: object):
    asked = {"seal": caller.seal, **options}
    parts = {"document": ("a.pdf", document), "options": (None, json.dumps(asked))}
    return caller.http.post("/v1/documents", files=parts)


def signed(caller, document: bytes, **options: object) -> bytes:
    answer = send(caller, document, **options)
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(document)
    return answer.content


def verdicts(house, document: bytes) -> list[bool]:
    anchor = house.service.trust_anchor
    return judgement.pyhanko(document, anchor, judgement.dss(document))


def test_signatures_that_are_there_stay_valid(house, caller, tmp_path: Path) -> None:
    """Three, by two seals, one of them seen, at different levels."""
    first = signed(caller, PLAIN, level="B-LT")
    other = type(caller)(caller.http, house.service.seal_ids["RSA-3072"])
    second = signed(other, first, level="B-LTA", appearance=SEEN)
    third = signed(caller, second, level="B-LT", reason="the last")
    path = tmp_path / "third.pdf"
    path.write_bytes(third)
    assert judgement.pdfsig(path) == [True] * 3
    assert verdicts(house, third) == [True] * 4  # and the document timestamp of B-LTA
    anchor = judgement.write_pem(house.service.trust_anchor, tmp_path / "root.pem")
    found = [one for one in judgement.signatures(third) if not one.is_timestamp]
    assert len(found) == 3
    assert all(judgement.openssl_cms(one, anchor, tmp_path) for one in found)


def test_a_certification_against_changes_is_obeyed(house, caller) -> None:
    certified = signed(caller, with_fields("Author", "Other"), certify="no-changes")
    for given in (certified, generated_pdfs.certified(1)):
        before = house.left()
        for options in ({}, {"field_name": "Other"}, {"field_name": "New"}):
            refused = send(caller, given, **options)
            assert (refused.status_code, refused.json()["code"]) == (422, "pdf-certified"), options
        later = caller.sign(given, later=True).json()
        assert caller.until(later["id"], "failed")["problem"]["code"] == "pdf-certified"
        assert house.left() == before


@pytest.mark.parametrize("certify", ["form-filling", "annotations"])
def test_a_certification_that_allows_its_own_fields(
    house, caller, tmp_path: Path, certify: str
) -> None:
    certified = signed(caller, with_fields("Author", "Other"), certify=certify, field_name="Author")
    before = house.left()
    refused = send(caller, certified, field_name="New")
    assert (refused.status_code, refused.json()["code"]) == (422, "pdf-certified")
    both = signed(caller, certified, field_name="Other")
    path = tmp_path / "both.pdf"
    path.write_bytes(both)
    assert judgement.pdfsig(path) == [True, True]
    assert verdicts(house, both) == [True, True]
    report = caller.http.post(
        "/v1/verify", content=both, headers={"Content-Type": "application/pdf"}
    ).json()["report"]
    assert report["verdict"] == "valid", report
    none_left = send(caller, both)
    assert (none_left.status_code, none_left.json()["code"]) == (422, "pdf-certified")
    assert house.left() == before - 1


@pytest.mark.parametrize("bits", ["128", "256"])
@pytest.mark.parametrize("password", PASSWORDS)
def test_an_encrypted_file_and_its_password(
    house, caller, tmp_path: Path, bits: str, password: str, key: str
) -> None:
    """At once and later, seen and not; the password is nowhere afterwards."""
    weak = ("--allow-weak-crypto",) if bits == "128" else ()
    cipher = ("--use-aes=y",) if bits == "128" else ()
    ascii_only = tuple(one.replace("á", "a") for one in PASSWORDS) if bits == "128" else PASSWORDS
    given = password.replace("á", "a") if bits == "128" else password
    locked = generated_pdfs.through_qpdf(
        PLAIN, tmp_path, *weak, "--encrypt", *ascii_only, bits, *cipher, "--"
    )
    watch = leaking.Watch()
    watch.learn("password of a file", given)
    refused = [send(caller, locked), send(caller, locked, password="another-password")]
    assert {one.json()["code"] for one in refused} == {"pdf-password-required"}
    done = signed(caller, locked, password=given, appearance=SEEN)
    options = {"seal": caller.seal, "password": "another-password"}
    asked = {"Prefer": "respond-async", "Idempotency-Key": key}

    def later() -> dict:
        parts = {"document": ("a.pdf", locked), "options": (None, json.dumps(options))}
        return caller.http.post("/v1/documents", files=parts, headers=asked).json()

    failed = caller.until(later()["id"], "failed")
    assert failed["problem"]["code"] == "pdf-password-required"
    options["password"] = given  # the same request with the right password
    assert later()["id"] == failed["id"]
    caller.until(failed["id"], "signed")
    fetched = caller.http.get(f"/v1/documents/{failed['id']}/content").content
    for content in (done, fetched):
        require_valid(content, given, house.service.trust_anchor)
    path = tmp_path / "done.pdf"
    path.write_bytes(done)
    command = ["qpdf", f"--password={given}", "--check", path]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert watch.leaks(kept(house)) == []
    traffic = b"\n".join(house.wire.traffic)
    assert not any(form in traffic for form in needles.written(given.encode()))


def require_valid(content: bytes, password: str, anchor: bytes) -> None:
    reader = PdfFileReader(io.BytesIO(content), strict=False)
    reader.decrypt(password)
    (found,) = reader.embedded_regular_signatures
    roots = [judgement.x509.Certificate.load(anchor)]
    status = validate_pdf_signature(found, ValidationContext(trust_roots=roots))
    assert status.bottom_line, status.pretty_print_details()


def kept(house) -> dict[str, bytes]:
    """Everything that is written down anywhere."""
    return {
        "log": house.log.getvalue().encode(),
        "files": leaking.files(house.folder / "gateway") + leaking.files(house.folder / "service"),
        "database": house.do(needles.everything(house.gateway.office.database)),
    }


def test_archival_files_and_tagged_ones(caller, tmp_path: Path) -> None:
    """PDF/A-1b, 2b, 3b and PDF/UA-1, by a seal that is seen and by one that is not."""
    paths = dict(archival_files(tmp_path))
    for kids in (False, True):
        paths[f"ua-{kids}"] = tmp_path / f"ua-{kids}.pdf"
        paths[f"ua-{kids}"].write_bytes(generated_pdfs.with_table(generated_pdfs.pdfua(kids=kids)))
    ways = {
        "unseen": {"level": "B-LTA"},
        "seen": {"level": "B-LT", "appearance": SEEN, "reason": "合同"},
    }
    made = []
    for way, options in ways.items():
        for name, path in paths.items():
            target = tmp_path / f"{way}-{name}.pdf"
            target.write_bytes(signed(caller, path.read_bytes(), **options))
            made.append(target)
    said = verapdf([*paths.values(), *made])
    before, after = said[: len(paths)], said[len(paths) :]
    assert [flavour for flavour, _, _ in before] == [*(name[:2] for name in FORMS), "ua1", "ua1"]
    assert {verdict for _, verdict, _ in before} == {True}
    assert after == before * len(ways)
