"""Reports in words: every verdict and code has some, and nobody's name is markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec
import pytest
from lxml import html

from hashseal.validation.report import INVALID, UNTRUSTED, Report, SignatureReport, conclude
from hashseal_gateway.web.pages.rendering import environment
from hashseal_gateway.web.report_words import ReportWords, in_words
from hashseal_gateway.web.verifying import wants_page

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOLDS = SignatureReport(
    field="Signature1",
    kind="signature",
    integrity=True,
    trusted=True,
    covers_whole_file=False,
    changes="evidence",
    signer="Seal",
    organisation="Organisation",
    trust_anchor="Root",
    time=AT,
    time_source="timestamp",
    level="B-LT",
    revocation="checked",
    certificate="ab" * 32,
    valid_until=AT,
)


def words(report: Report, *, name: str | None = "a.pdf", anchors: int = 1) -> ReportWords:
    return in_words(report, digest="00" * 32, size=12345, name=name, judged_at=AT, anchors=anchors)


def shown(report: ReportWords) -> str:
    return environment().get_template("report.html").render(report=report, style="")


def lines(report: ReportWords) -> dict[str, str]:
    return {line.name: line.words for one in report.signatures for line in one.lines}


@pytest.mark.parametrize("code", ["timestamp-untrusted", "timestamp-wrong", "unknown-root"])
def test_a_timestamp_that_nobody_trusts_shows_nothing(code: str) -> None:
    report = words(conclude((msgspec.structs.replace(HOLDS, trusted=False, code=code),)))
    assert lines(report)["Time"] == "2026-01-31 12:00:00 UTC, as its timestamp says"


def test_a_signature_that_holds() -> None:
    report = words(conclude((msgspec.structs.replace(HOLDS, seal_id="0123456789abcdef"),)))
    assert (report.tone, report.title, report.code) == ("good", "Valid", "valid")
    found = lines(report)
    assert found["Time"] == "2026-01-31 12:00:00 UTC, shown by a timestamp"
    assert found["Trust"] == "Leads to the trust anchor Root"
    assert found["SealID"] == "0123456789abcdef"
    assert found["For more"] == "Add a document timestamp over it (B-LTA)"
    facts = {line.name: line.words for line in report.facts}
    assert facts["Size"] == "12 345 octets"
    assert facts["Can be shown until"].startswith("2026-01-31 12:00:00 UTC")
    text = html.fromstring(shown(report)).text_content()
    for part in ("Rely on it", "valid", "Organisation", "Not revoked"):
        assert part in text


@pytest.mark.parametrize("code", [*INVALID, *UNTRUSTED, "raw-key"])
def test_every_fault_is_said_in_words_with_its_code(code: str) -> None:
    one = msgspec.structs.replace(
        HOLDS, code=code, trusted=code in INVALID, detail="what the validator found", time=None
    )
    report = words(conclude((one,)))
    bad = code in INVALID
    assert report.tone == report.signatures[0].tone == ("bad" if bad else "doubtful")
    assert report.code == code
    assert report.signatures[0].holds != code
    page = html.fromstring(shown(report))
    assert page.xpath("//*[contains(@class, 'verdict-code')]//code/text()")[-1] == code
    # Not by colour alone: the mark and the words say it too.
    assert page.xpath("string(//*[@class='verdict-icon'])") == ("✗" if bad else "!")


def test_nothing_is_signed_and_nobody_is_trusted() -> None:
    report = words(conclude(()), name=None, anchors=0)
    assert (report.tone, report.code) == ("plain", "no-signature")
    facts = {line.name: line for line in report.facts}
    assert facts["Trust anchors"].tone == "bad"
    assert "File" not in facts


def test_of_a_file_that_was_changed_nothing_is_called_good() -> None:
    changed = msgspec.structs.replace(
        HOLDS, code="changed", integrity=False, trusted=False, revocation="not checked"
    )
    (one,) = words(conclude((changed,))).signatures
    assert "good" not in {line.tone for line in one.lines}
    assert {line.name: line.words for line in one.lines}["Revocation"].startswith("Not judged")


def test_a_certified_file_with_values_that_were_filled_in() -> None:
    filled = msgspec.structs.replace(HOLDS, changes="form-values", trust_anchor=None, trusted=False)
    report = words(conclude((filled,), permission=2))
    assert "only form fields" in {one.name: one.words for one in report.facts}["Certification"]
    assert "were filled after it" in lines(report)["Covers"]
    assert lines(report)["Trust"] == "Leads to none of the trust anchors"


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html;q=0.5", False),
        ("image/png", False),
        ("text/html", True),
        ("text/html, application/problem+json", True),
        (BROWSER, True),
    ],
)
def test_who_is_answered_with_a_page(accept: str, page: bool) -> None:
    assert wants_page(accept) is page


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "a\u202egpj.exe\x00\r\nSet-Cookie: a=b",
    "x" * 5000,
)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_never_markup(name: str) -> None:
    """In certificates, fields and file names there is what somebody else has written."""
    one = msgspec.structs.replace(
        HOLDS,
        field=name,
        signer=name,
        organisation=name,
        trust_anchor=name,
        problems=(name,),
        detail=name,
        code="unknown-root",
    )
    text = shown(words(conclude((one,)), name=name))
    page = html.fromstring(text)
    plain = html.fromstring(
        shown(
            words(
                conclude(
                    (
                        msgspec.structs.replace(
                            HOLDS, problems=("a",), detail="a", code="unknown-root"
                        ),
                    )
                )
            )
        )
    )
    assert [one.tag for one in page.iter()] == [one.tag for one in plain.iter()]
    assert "49" not in page.xpath("string(//h2)")
    assert not re.search("[\u202e\x00\r]", text)
    assert len(text) < 12_000
