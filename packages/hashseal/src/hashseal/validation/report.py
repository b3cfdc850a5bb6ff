"""The validation report as values: for machines as JSON, for people as sentences."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

LEVELS = ("B-B", "B-T", "B-LT", "B-LTA")
Verdict = Literal["valid", "invalid", "untrusted", "no-signature"]
INVALID = {
    "unreadable": "{field} is not a signature that can be read",
    "not-covering": "what {field} covers is not this file: parts of it are not signed",
    "changed": "it was changed after {field} was signed",
    "signature-wrong": "{field} was not made with the key of the certificate that it names",
    "signature-removed": "{field}, which was in it before, was removed or replaced",
    "not-permitted": "it was signed again after {field}, which its certification forbids",
    "added": "something other than validation data was added after {field}",
    "timestamp-wrong": "the timestamp in {field} was made for something else",
    "revoked": "the certificate behind {field} was revoked",
}
UNTRUSTED = {
    "unknown-root": "the signer of {field} does not lead to a trust anchor that was given",
    "expired": "the certificate behind {field} expired, and no timestamp that still holds shows "
    "that it was used before",
    "not-yet-valid": "the certificate behind {field} is not valid yet at that time",
    "timestamp-untrusted": "the timestamp in {field} does not come from an authority that is "
    "trusted",
    "chain-invalid": "the chain of certificates behind {field} does not hold",
}
RAW_KEY = (
    "its key signs any digest that it is sent (a raw-signing certificate), so it does not show "
    "that anybody signed this document"
)
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
    proof of its time rests on: extend before then. `seal_id` is the SealID, where whoever reports
    knows which of its seals signed.
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
    code: str = "valid"
    organisation: str | None = None
    certificate: str | None = None
    seal_id: str | None = None


class Report(msgspec.Struct, frozen=True):
    """One verdict on the file, and what it rests on.

    `code` says why, for machines: the verdict itself (`valid`, `no-signature`) or the fault that
    decided: `unreadable`, `not-covering`, `changed`, `signature-wrong`, `not-permitted`, `added`,
    `signature-removed`, `timestamp-wrong`, `revoked` (invalid); `raw-key`, `unknown-root`,
    `expired`, `not-yet-valid`, `timestamp-untrusted`, `chain-invalid` (untrusted). `certified` is
    what the certification lets follow: `no-changes`, `form-filling`, `annotations`, absent without
    one.
    """

    verdict: Verdict
    words: str
    signatures: tuple[SignatureReport, ...] = ()
    next_level: str | None = None
    valid_until: datetime | None = None
    code: str = "valid"
    certified: str | None = None


_PERMISSIONS = {1: "no-changes", 2: "form-filling", 3: "annotations"}


def conclude(
    signatures: tuple[SignatureReport, ...],
    removed: tuple[str, ...] = (),
    permission: int | None = None,
) -> Report:
    """The verdict that follows from the parts; the strictest part decides.

    `removed` are fields that were signed in an earlier revision; `permission` is that of DocMDP.
    """
    certified = _PERMISSIONS.get(permission or 0)
    fields = {one.code: one.field for one in reversed(signatures)}
    if removed:
        fields["signature-removed"] = removed[0]
    for code, why in INVALID.items():
        if code in fields:
            words = f"Do not rely on this file: {why.format(field=fields[code])}."
            return Report("invalid", words, signatures, code=code, certified=certified)
    if not signatures:
        return Report("no-signature", "The file has no signature.", code="no-signature")
    if "raw-key" in fields:
        words = f"Do not rely on {fields['raw-key']}. WARNING: {RAW_KEY}."
        return Report("untrusted", words, signatures, code="raw-key", certified=certified)
    for code, why in UNTRUSTED.items():
        if code in fields:
            words = f"The file is unchanged, but {why.format(field=fields[code])}."
            return Report("untrusted", words, signatures, code=code, certified=certified)
    return _valid(signatures, certified)


def _valid(signatures: tuple[SignatureReport, ...], certified: str | None) -> Report:
    ours = [one for one in signatures if one.kind == "signature"]
    level = min((one.level for one in ours), key=LEVELS.index) if ours else "B-LTA"
    names = ", ".join(dict.fromkeys(one.signer for one in ours)) or signatures[-1].signer
    words = f"The file is unchanged since it was signed by {names} ({level})."
    if any(one.changes == "form-values" for one in signatures):
        words = (
            f"The file was signed by {names} ({level}). Form fields were filled in afterwards, "
            "which its certification allows; nothing else was changed."
        )
    ends = [one.valid_until for one in signatures if one.valid_until is not None]
    return Report(
        "valid",
        words,
        signatures,
        NEXT_LEVEL[level],
        min(ends, default=None),
        certified=certified,
    )
