"""The verdict on attacked files is right, for machines by a code, for people in words.

Every file is made from one that is really signed. Judged in this process, to be quick; that the
child process says the same is shown for one of them.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import attacks
import msgspec
import pikepdf
import pytest
import small_authority
from pyhanko.sign.diff_analysis import StandardDiffPolicy

from hashseal import pdf, validation
from hashseal.client.signing import sign
from hashseal.validation.judge import report_on
from hashseal.validation.report import INVALID, UNTRUSTED, Question, Report
from hashseal.validation.stepwise import StepwisePolicy
from hashseal_core.algorithms import Level


def judged(octets: bytes, *anchors: bytes) -> Report:
    return report_on(io.BytesIO(octets), Question(tuple(one.decode() for one in anchors)))


@pytest.fixture(scope="module")
def signed(opened, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The prepared file, signed as it is, certified in three ways, and extended."""
    folder = tmp_path_factory.mktemp("signed")
    source = folder / "in.pdf"
    source.write_bytes(attacks.prepared())
    made = {}
    for name, level, certify in (
        ("B-B", Level.B_B, None),
        ("B-LT", Level.B_LT, None),
        ("B-LTA", Level.B_LTA, None),
        ("no-changes", Level.B_B, "no-changes"),
        ("form-filling", Level.B_B, "form-filling"),
        ("annotations", Level.B_B, "annotations"),
    ):
        output = folder / f"{name}.pdf"
        options = pdf.SignatureOptions(contents_size=1, certify=certify)
        opened.client.run(sign(source, output, level=level, options=options))
        made[name] = output.read_bytes()
    return made


@pytest.mark.parametrize("level", ["B-B", "B-LT", "B-LTA"])
def test_untouched(opened, signed: dict[str, bytes], level: str) -> None:
    report = judged(signed[level], opened.trust_anchor)
    assert (report.verdict, report.code) == ("valid", "valid")
    assert (
        report.words
        == f"The file is unchanged since it was signed by Hashseal TEST Seal ({level})."
    )
    assert report.next_level
    assert report.valid_until is not None
    assert report.signatures[0].organisation == "Test Organisation"
    assert len(report.signatures[0].certificate or "") == 64


TABLE = {
    "changed": (attacks.CHANGED, {"changed"}),
    "appended": (attacks.APPENDED, {"added"}),
    "shadow": (attacks.SHADOWS, {"added"}),
    "wrapped": (attacks.WRAPPED, {"unreadable", "not-covering"}),
    "stripped": (attacks.STRIPPED, {"signature-removed"}),
    "forged": (attacks.FORGED, {"signature-wrong"}),
}
CASES = [(kind, name) for kind, (rows, _) in TABLE.items() for name in rows]


@pytest.mark.parametrize("level", ["B-B", "B-LTA"])
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_attacked(opened, signed: dict[str, bytes], kind: str, name: str, level: str) -> None:
    rows, codes = TABLE[kind]
    if (kind, level) == ("forged", "B-LTA"):
        codes = {"changed"}  # the document timestamp covers the value
    octets = rows[name](signed[level])
    report = judged(octets, opened.trust_anchor)
    assert report.verdict == "invalid", report
    assert report.code in codes, report
    assert report.words.startswith("Do not rely on this file: ")
    assert report.next_level is None


BETWEEN = {
    **{name: attacks.SHADOWS[name] for name in ("hide: overlay emptied", "replace: font")},
    "hide and replace": attacks.SHADOWS["hide and replace: page tree"],
    "note": attacks.NOTE,
    "filled": attacks.FILL,
    "nothing": bytes,
}


@pytest.mark.parametrize("name", BETWEEN)
def test_attacked_and_stamped_again(
    opened, signed: dict[str, bytes], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step by step the same is found as when each revision is held against the signed one."""
    for level in ("B-LT", "B-LTA", "form-filling"):
        octets = BETWEEN[name](signed[level])
        for field in ("Stamp", "Again"):
            octets = small_authority.stamped_again(octets, None, field)
        found = judged(octets, opened.trust_anchor)
        with monkeypatch.context() as patched:
            patched.setattr(StepwisePolicy, "review_file", StandardDiffPolicy.review_file)
            assert judged(octets, opened.trust_anchor) == found
        harmless = name == "nothing" or (name, level) == ("filled", "form-filling")
        assert (found.code == "unknown-root") == harmless, (level, found)  # the stamps'


def test_a_layer_of_the_attack_does_not_matter_to_who_signed(
    opened, signed: dict[str, bytes]
) -> None:
    """What was shown to be an attack is told so without any anchor as well."""
    for name in ("hide: overlay emptied", "replace: field"):
        report = judged(attacks.SHADOWS[name](signed["B-B"]))
        assert (report.verdict, report.code) == ("invalid", "added")


def test_a_signature_that_was_rewritten_away_is_none(opened, signed: dict[str, bytes]) -> None:
    plain = io.BytesIO()
    with pikepdf.open(io.BytesIO(signed["B-LT"])) as made:
        del made.Root.AcroForm, made.pages[0].Annots
        made.save(plain)
    report = judged(plain.getvalue(), opened.trust_anchor)
    assert (report.verdict, report.code) == ("no-signature", "no-signature")
    assert report.words == "The file has no signature."


@pytest.mark.parametrize(
    ("certified", "attack", "verdict", "code"),
    [
        ("no-changes", None, "valid", "valid"),
        ("no-changes", attacks.FILL, "invalid", "added"),
        ("form-filling", attacks.FILL, "valid", "valid"),
        ("form-filling", attacks.NOTE, "invalid", "added"),
        ("form-filling", attacks.SHADOWS["hide: overlay emptied"], "invalid", "added"),
        ("form-filling", attacks.SHADOWS["hide and replace: page tree"], "invalid", "added"),
        ("annotations", attacks.FILL, "valid", "valid"),
        ("annotations", attacks.NOTE, "invalid", "added"),
    ],
)
def test_certified(opened, signed, certified: str, attack, verdict: str, code: str) -> None:
    octets = signed[certified] if attack is None else attack(signed[certified])
    report = judged(octets, opened.trust_anchor)
    assert (report.verdict, report.code, report.certified) == (verdict, code, certified), report
    if attack is attacks.FILL and verdict == "valid":
        assert report.signatures[0].changes == "form-values"
        assert "filled in afterwards" in report.words


def test_signed_again(opened, signed: dict[str, bytes], tmp_path: Path) -> None:
    """A second signature is no attack, unless the certification forbids it."""
    first, second = tmp_path / "1.pdf", tmp_path / "2.pdf"
    first.write_bytes(signed["B-B"])
    opened.client.run(sign(first, second, level=Level.B_B))
    report = judged(second.read_bytes(), opened.trust_anchor)
    assert (report.verdict, [one.changes for one in report.signatures]) == (
        "valid",
        ["signatures", "none"],
    )
    octets = small_authority.signed_again(signed["no-changes"])
    report = judged(octets, opened.trust_anchor)
    assert (report.verdict, report.code) == ("invalid", "not-permitted")
    assert "forbids" in report.words


def test_a_document_timestamp_that_shows_something(opened, signed: dict[str, bytes]) -> None:
    unseen, seen = (
        judged(small_authority.stamped_again(signed["B-B"], box), opened.trust_anchor)
        for box in (None, (0, 0, 420, 595))
    )
    assert unseen.signatures[0].changes == "evidence"
    assert unseen.code == "unknown-root"  # the stamp's
    assert (seen.verdict, seen.code, seen.signatures[0].changes) == ("invalid", "added", "other")


AUTHORITIES = {
    "valid": ("valid", "valid", "unchanged since it was signed by Seal"),
    "stamped": ("valid", "valid", "(B-T)"),
    "wrong-timestamp": ("invalid", "timestamp-wrong", "was made for something else"),
    "strange-timestamp": ("untrusted", "timestamp-untrusted", "does not come from an authority"),
    "revoked": ("invalid", "revoked", "was revoked"),
    "expired": ("untrusted", "expired", "expired"),
    "not-yet-valid": ("untrusted", "not-yet-valid", "not valid yet"),
    "expired-but-stamped": ("valid", "valid", "(B-T)"),
    "unknown-root": ("untrusted", "unknown-root", "trust anchor"),
}


@pytest.mark.parametrize("name", AUTHORITIES)
def test_chains_and_times(name: str, tmp_path: Path) -> None:
    verdict, code, words = AUTHORITIES[name]
    octets, anchor = small_authority.made(name, attacks.prepared(), tmp_path)
    report = judged(octets, anchor)
    assert (report.verdict, report.code) == (verdict, code), report
    assert words in report.words
    assert report.signatures[0].code == code


def test_every_fault_has_words_and_a_test() -> None:
    shown = {code for _, codes in TABLE.values() for code in codes}
    shown |= {code for _, code, _ in AUTHORITIES.values()} | {"not-permitted", "valid"}
    unshown = {"chain-invalid"}  # what no other code says
    assert {*INVALID, *UNTRUSTED} == (shown | unshown) - {"valid"}


def test_the_child_process_says_the_same(opened, signed: dict[str, bytes], tmp_path: Path) -> None:
    """The shape in JSON is that of the reference, and stays."""
    path = tmp_path / "attacked.pdf"
    path.write_bytes(attacks.SHADOWS["replace: field"](signed["B-B"]))
    report = json.loads(msgspec.json.encode(validation.validate(path, [opened.trust_anchor])))
    one = report.pop("signatures")[0]
    assert report == {
        "verdict": "invalid",
        "code": "added",
        "words": "Do not rely on this file: something other than validation data was added after Signature1.",
        "next_level": None,
        "valid_until": None,
        "certified": None,
    }
    assert (one["code"], one["changes"], one["integrity"]) == ("added", "other", True)
