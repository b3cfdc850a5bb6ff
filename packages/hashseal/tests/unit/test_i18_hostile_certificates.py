"""I18: what a file may ask of the verifier is counted before pyHanko works with it."""

from __future__ import annotations

import resource
from pathlib import Path

import attacks
import hostile_bags
import pytest

from hashseal import pdf, validation
from hashseal.client.signing import sign
from hashseal.validation import limits
from hashseal.validation.judge import report_on
from hashseal.validation.limits import LimitExceeded
from hashseal.validation.report import Question
from hashseal_core.algorithms import Level
from hashseal_core.errors import PdfLimit
from hashseal_core.evidence import ValidationMaterial

REFUSED = {
    "hundred": "103 certificates in 'Seal' and its timestamps",
    "hundred in the token": "certificates in 'Seal' and its timestamps",
    "same name": "14 certificates are named 'Common Name: Authority'",
    "same name in the token": "certificates are named 'Common Name: Authority'",
}


def spent() -> float:
    """Seconds of CPU of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_certificates_are_counted(name: str, tmp_path: Path) -> None:
    octets, anchor = hostile_bags.made(name, attacks.prepared())
    path = tmp_path / "hostile.pdf"
    path.write_bytes(octets)
    before = spent()
    with pytest.raises(PdfLimit, match=REFUSED[name]):
        validation.validate(path, [anchor])
    assert spent() - before <= limits.CPU_SECONDS


def test_too_much_validation_material_is_named(opened, source: Path) -> None:
    """It is no broken file, and nobody is told so."""
    signed = source.with_name("signed.pdf")
    opened.client.run(sign(source, signed, level=Level.B_B))
    many = tuple(b"%d" % n for n in range(limits.MAX_STATUS_OBJECTS + 1))
    pdf.add_validation(signed, ValidationMaterial(ocsp_responses=many))
    with pytest.raises(PdfLimit, match="2049 entries in /OCSPs of its store; at most 2048"):
        validation.validate(signed, [opened.trust_anchor])


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("MAX_SIGNATURES", "signatures and document timestamps"),
        ("MAX_REVISIONS", "revisions"),
        ("MAX_STATUS_OBJECTS", "of its store"),
        ("MAX_STORED_CERTIFICATES", "certificates"),
        ("MAX_SIGNATURE_CERTIFICATES", "certificates in 'Signature1' and its timestamps"),
    ],
)
def test_each_limit_says_what_to_do(
    opened, source: Path, monkeypatch: pytest.MonkeyPatch, limit: str, told: str
) -> None:
    signed = source.with_name("signed.pdf")
    opened.client.run(sign(source, signed, level=Level.B_LTA))
    question = Question((opened.trust_anchor.decode(),))
    with signed.open("rb") as file:
        assert report_on(file, question).verdict == "valid"
        monkeypatch.setattr(limits, limit, 1)
        with pytest.raises(
            LimitExceeded, match=f"{told}.*; at most 1 are verified: .*(ask|extend)"
        ):
            report_on(file, question)


def test_cross_certificates_are_no_attack(tmp_path: Path) -> None:
    octets, anchor = hostile_bags.made("cross certificates", attacks.prepared())
    path = tmp_path / "honest.pdf"
    path.write_bytes(octets)
    report = validation.validate(path, [anchor])
    assert (report.verdict, report.signatures[0].level) == ("valid", "B-T"), report


def test_the_limits_are_within_the_promise() -> None:
    """A process can do no more than that; by the clock a busy machine may take longer over it."""
    assert limits.CPU_SECONDS < 10
    assert limits.MEMORY_OCTETS == 512 << 20
    assert limits.more_seconds(limits.USUAL_OCTETS) == 0
    assert limits.more_seconds(1 << 30) == 57
