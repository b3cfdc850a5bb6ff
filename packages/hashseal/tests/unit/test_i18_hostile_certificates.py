"""I18: what a file may ask of the verifier is counted before pyHanko works with it."""

from __future__ import annotations

import resource
from pathlib import Path

import attacks
import hostile_bags
import pytest

from hashseal import validation
from hashseal.validation import limits
from hashseal_core.errors import PdfLimit

REFUSED = {
    "hundred": "103 certificates in Seal and its timestamps",
    "hundred in the token": "certificates in Seal and its timestamps",
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
