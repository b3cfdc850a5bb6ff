"""The validation report as values: for machines as JSON, for people as sentences."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

LEVELS = ("B-B", "B-T", "B-LT", "B-LTA")
Verdict = Literal["valid", "invalid", "untrusted", "no-signature"]
NEXT_LEVEL = {
    "B-B": "a signature timestamp (B-T)",
    "B-T": "validation material for all chains (B-LT)",
    "B-LT": "a document timestamp over it (B-LTA)",
    "B-LTA": "fresh evidence and a new document timestamp before the last one goes stale",
}


class Question(msgspec.Struct, frozen=True):
    """What the child process is asked; `at` None is the present."""

    trust_anchors: tuple[str, ...]
    password: str | None = None
    at: datetime | None = None


class SignatureReport(msgspec.Struct, frozen=True):
    """What was found of one signature or document timestamp.

    `integrity` says that the signed octets are unchanged; `covers_whole_file` that nothing follows
    them; `changes` what follows: `none`, `evidence` (validation material and document timestamps
    only), `signatures` (later signatures) or `other`. `level` is what the material in the file
    supports, not what was once asked for. `valid_until` is the end of the certificate that the last
    proof of its time rests on: extend before then.
    """

    field: str
    kind: str
    integrity: bool
    trusted: bool
    covers_whole_file: bool
    changes: str
    signer: str
    trust_anchor: str | None
    time: datetime | None
    time_source: str
    level: str
    revocation: str
    detail: str = ""
    valid_until: datetime | None = None
    problems: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """One verdict on the file, and what it rests on."""

    verdict: Verdict
    words: str
    signatures: tuple[SignatureReport, ...] = ()
    next_level: str | None = None
    valid_until: datetime | None = None


def conclude(signatures: tuple[SignatureReport, ...]) -> Report:
    """The verdict that follows from the parts; the strictest part decides."""
    ours = [one for one in signatures if one.kind == "signature"]
    if not signatures:
        return Report("no-signature", "The file has no signature.")
    broken = [one for one in signatures if not one.integrity]
    if broken:
        what = f"it was changed after {broken[0].field} was signed"
        if not broken[0].signer:
            what = f"{broken[0].field} is not a signature that can be read"
        words = f"Do not rely on this file: {what}."
        return Report("invalid", words, signatures)
    changed = [one for one in signatures if one.changes == "other"]
    if changed:
        words = (
            f"Do not rely on this file: something other than validation data was added "
            f"after {changed[-1].field}."
        )
        return Report("invalid", words, signatures)
    revoked = [one for one in signatures if one.revocation == "revoked"]
    if revoked:
        words = f"The certificate behind {revoked[0].field} was revoked."
        return Report("invalid", words, signatures)
    if doubtful := [one for one in signatures if not one.trusted]:
        return Report("untrusted", _doubt(doubtful[0]), signatures)
    level = min((one.level for one in ours), key=LEVELS.index) if ours else "B-LTA"
    names = ", ".join(dict.fromkeys(one.signer for one in ours)) or signatures[-1].signer
    words = f"The file is unchanged since it was signed by {names} ({level})."
    ends = [one.valid_until for one in signatures if one.valid_until is not None]
    return Report("valid", words, signatures, NEXT_LEVEL[level], min(ends, default=None))


def _doubt(one: SignatureReport) -> str:
    if one.trust_anchor is None:
        return (
            f"The file is unchanged, but the signer of {one.field} does not lead to a trust anchor "
            "that was given."
        )
    reason = one.problems[0] if one.problems else "its chain does not hold"
    return f"The file is unchanged, but {one.field} cannot be relied on: {reason}."
