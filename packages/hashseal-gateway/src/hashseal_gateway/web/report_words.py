"""A verification report in words: what the pages and the HTML answer of `POST /v1/verify` show.

Nothing is judged here. Names come from certificates and files, which anybody can make: they are
values, never markup, and what turns the direction of text is taken out of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from hashseal.validation.report import NEXT_LEVEL, UNTRUSTED, Report, SignatureReport
from hashseal_gateway.seals.appearance import CONTROL

Tone = Literal["good", "doubtful", "bad", "plain"]
_LONGEST = 500
_VERDICTS: Mapping[str, tuple[Tone, str, str]] = {
    "valid": ("good", "Valid", "Rely on it, as long as this can be shown."),
    "untrusted": (
        "doubtful",
        "Unchanged, but not trusted",
        "Ask whoever sent it who signed; give this gateway the right trust anchors.",
    ),
    "invalid": ("bad", "Not to be relied on", "Ask whoever signed it for the file again."),
    "no-signature": (
        "plain",
        "Not signed",
        "If this document must be signed, refuse it: a signature may have been taken out.",
    ),
}
_CODES: Mapping[str, str] = {
    "valid": "holds",
    "unreadable": "cannot be read",
    "not-covering": "does not cover this file",
    "changed": "was signed over other content",
    "signature-wrong": "was not made with the certificate's key",
    "signature-removed": "was removed",
    "not-permitted": "was followed by a signature that the certification forbids",
    "added": "was followed by something that may not follow",
    "timestamp-wrong": "has a timestamp that was made for something else",
    "revoked": "was made with a certificate that was revoked",
    "raw-key": "was made with a key that signs anything",
    "unknown-root": "does not lead to a trust anchor",
    "expired": "has expired",
    "not-yet-valid": "is not valid yet",
    "timestamp-untrusted": "has a timestamp that is not trusted",
    "chain-invalid": "has a chain of certificates that does not hold",
}
_DOUBTFUL = ("raw-key", *UNTRUSTED)
_CHANGES = {
    "none": "The whole file; nothing follows it",
    "evidence": "All that was there; what follows is validation data and document timestamps "
    "that nobody sees",
    "signatures": "All that was there; further signatures follow",
    "form-values": "All that was there; form fields that its certification lets be filled were "
    "filled after it",
    "other": "Not the whole file: something else was added after it, or is not covered by it",
}
_LEVELS = {
    "B-B": "B-B: a signature; its time is the signer's word",
    "B-T": "B-T: with a timestamp",
    "B-LT": "B-LT: with a timestamp, and evidence that can be checked without a network",
    "B-LTA": "B-LTA: with evidence, and a document timestamp over it",
}
_REVOCATION = {
    "checked": "Not revoked; the file holds the evidence for the time of signing",
    "not checked": "Not checked: the file does not hold the evidence",
    "revoked": "Revoked",
}
_CERTIFIED = {
    "no-changes": "It is certified: nothing may be changed after it.",
    "form-filling": "It is certified: afterwards only form fields may be filled in, and signed.",
    "annotations": "It is certified: afterwards form fields may be filled in, and notes added.",
}
_KINDS = {"signature": "Signature", "timestamp": "Document timestamp"}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was found; `tone` is `plain` where it is neither good nor bad."""

    name: str
    words: str
    tone: Tone = "plain"
    technical: bool = False


@dataclass(frozen=True, slots=True)
class SignatureWords:
    """One signature or document timestamp."""

    title: str
    tone: Tone
    holds: str
    code: str
    lines: tuple[Line, ...]
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportWords:
    """The whole report: the verdict first."""

    tone: Tone
    title: str
    words: str
    advice: str
    verdict: str
    code: str
    facts: tuple[Line, ...]
    signatures: tuple[SignatureWords, ...]


def in_words(
    report: Report,
    *,
    digest: str,
    size: int,
    name: str | None,
    judged_at: datetime,
    anchors: int,
) -> ReportWords:
    """The report on the file of this name, `size` and SHA-256 (hexadecimal)."""
    tone, title, advice = _VERDICTS[report.verdict]
    facts = [
        *([Line("File", _clean(name))] if name else []),
        Line("Size", f"{size:,} octets".replace(",", " ")),
        Line("SHA-256", digest, technical=True),
        Line("Judged at", moment(judged_at)),
    ]
    if not anchors:
        facts.append(Line("Trust anchors", "None is configured here, so nobody is trusted", "bad"))
    if report.certified:
        facts.append(Line("Certification", _CERTIFIED[report.certified]))
    if report.valid_until:
        facts.append(Line("Can be shown until", f"{moment(report.valid_until)}; extend it before"))
    if report.next_level:
        facts.append(Line("For the next level", f"Add {report.next_level}"))
    return ReportWords(
        tone=tone,
        title=title,
        words=_clean(report.words),
        advice=advice,
        verdict=report.verdict,
        code=report.code,
        facts=tuple(facts),
        signatures=tuple(_signature(one) for one in report.signatures),
    )


def _signature(one: SignatureReport) -> SignatureWords:
    kind = _KINDS.get(one.kind, one.kind)
    lines = () if one.code == "unreadable" else tuple(_lines(one))
    findings = [_clean(problem) for problem in one.problems]
    if one.code not in {"valid", "raw-key"} and one.detail:
        findings.append(f"The validator says: {_clean(one.detail)}")
    return SignatureWords(
        title=f"{kind} in the field {_clean(one.field)}",
        tone=_tone(one.code),
        holds=_CODES.get(one.code, one.code),
        code=one.code,
        lines=lines,
        findings=tuple(findings),
    )


def _tone(code: str) -> Tone:
    if code == "valid":
        return "good"
    return "doubtful" if code in _DOUBTFUL else "bad"


def _lines(one: SignatureReport) -> list[Line]:
    unchanged = one.integrity
    shown = one.time_source == "timestamp"
    time = moment(one.time) if one.time else "Unknown"
    source = "the signer's word, not shown by a timestamp"
    if shown:  # one that anybody can have made says something, and shows nothing
        source = "shown by a timestamp" if one.trusted else "as its timestamp says"
    covers: Tone = "bad" if one.changes == "other" else "good" if unchanged else "plain"
    chain = "Leads to none of the trust anchors"
    if one.trust_anchor:
        chain = f"Leads to the trust anchor {_clean(one.trust_anchor)}"
        if unchanged and not one.trusted:
            chain += ", but is not trusted"
    trust: Tone = "good" if one.trusted and unchanged else "doubtful" if unchanged else "plain"
    unknown: Tone = "doubtful" if unchanged else "plain"
    revoked = _REVOCATION.get(one.revocation, one.revocation)
    if not unchanged and one.revocation == "not checked":
        revoked = "Not judged, since the signature does not hold"
    revocation: dict[str, Tone] = {"checked": "good", "revoked": "bad"}
    found = [
        Line(
            "Integrity",
            "Every signed octet is as it was signed"
            if unchanged
            else "What was signed is not what is here",
            "good" if unchanged else "bad",
        ),
        Line("Covers", _CHANGES.get(one.changes, one.changes), covers),
        Line("Signer", _clean(one.signer)),
    ]
    if one.organisation:
        found.append(Line("Organisation", _clean(one.organisation)))
    found += [
        Line("Trust", chain, trust),
        Line("Time", f"{time}, {source}" if one.time else time),
        Line("Revocation", revoked, revocation.get(one.revocation, unknown)),
    ]  # fmt: skip
    if one.kind == "signature":
        found += [
            Line("Level", _LEVELS.get(one.level, one.level or "None")),
            *(
                [Line("For more", f"Add {NEXT_LEVEL[one.level]}")]
                if unchanged and one.level in NEXT_LEVEL
                else []
            ),
            Line("SealID", one.seal_id or "None that this gateway knows", technical=True),
        ]
    if unchanged and one.valid_until:
        found.append(Line("Can be shown until", moment(one.valid_until)))
    if one.certificate:
        found.append(Line("Certificate", f"SHA-256 {one.certificate}", technical=True))
    return found


def moment(at: datetime) -> str:
    """A time to the second, UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _clean(text: str) -> str:
    """Without control characters and what turns the direction of text; of a length to be read."""
    found = CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    return found if len(found) <= _LONGEST else f"{found[:_LONGEST]}…"
