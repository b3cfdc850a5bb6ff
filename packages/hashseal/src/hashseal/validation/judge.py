"""The child process: `python -m hashseal.validation.judge FILE`, a `Question` on standard input.

Writes a `Report` as JSON. Memory and CPU are limited before the file is opened; nothing is ever
fetched. The rule on what may follow a signature is stricter than pyHanko's: only validation
material and document timestamps.

Times (EN 319 102-1, 5.6): a document timestamp proves that what stands before it existed at its
time. So the newest is held against the present, each earlier one against the time of the next, and
a signature against the time of its own timestamp. Revocation is judged with the material in the
file, at the time at which each certificate was used.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from asn1crypto import pem, x509
from pyhanko.pdf_utils.crypt import AuthStatus
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import enumerate_sig_fields
from pyhanko.sign.validation import (
    async_validate_pdf_signature,
    async_validate_pdf_timestamp,
)
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature

from hashseal.validation import following, limits
from hashseal.validation.limits import LimitExceeded
from hashseal.validation.material import Material, readable
from hashseal.validation.report import RAW_KEY, Question, Report, SignatureReport, conclude
from hashseal_core.certificates import RAW_SIGNING
from hashseal_core.errors import PdfPasswordRequired

_TOKENS = ("signature_time_stamp_token", "content_time_stamp")
_SHOWN = 64
UNREADABLE, PASSWORD_NEEDED, LIMIT_EXCEEDED = 1, 3, 4


def main() -> int:
    """Judge one file; the exit code says why there is no report."""
    path = Path(sys.argv[1])
    seconds = limits.CPU_SECONDS + limits.more_seconds(path.stat().st_size)
    resource.setrlimit(resource.RLIMIT_AS, (limits.MEMORY_OCTETS, limits.MEMORY_OCTETS))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    logging.disable(logging.CRITICAL)
    gc.disable()  # this process ends with the file: looking for garbage is an eighth of the work
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    try:
        with path.open("rb") as file:
            report = report_on(file, question)
    except PdfPasswordRequired:
        return PASSWORD_NEEDED
    except LimitExceeded as error:
        sys.stdout.buffer.write(str(error).encode())
        return LIMIT_EXCEEDED
    except (MemoryError, RecursionError):
        sys.stdout.write("the file needs more memory, or is nested deeper, than a file may be")
        return LIMIT_EXCEEDED
    except Exception:  # noqa: BLE001 - whatever a hostile file provokes, the answer is the same
        return UNREADABLE
    sys.stdout.buffer.write(msgspec.json.encode(report))
    return 0


def report_on(file: BinaryIO, question: Question) -> Report:
    """The report on an open file, in this process and without limits: for files that are known.

    Raises:
        PdfPasswordRequired: encrypted, and the password does not open it.
        LimitExceeded: more signatures, certificates, … than are verified.
        Exception: of any type, whatever the validator stumbles over in a hostile file.
    """
    reader = PdfFileReader(file, strict=False)
    if reader.encrypted:
        opened = reader.decrypt(question.password or "")
        if opened.status is AuthStatus.FAILED:
            raise PdfPasswordRequired("the file is encrypted; the password does not open it")
    moment = question.at or datetime.now(UTC)
    judge = _Judge(reader, _anchors(question.trust_anchors), moment)
    return conclude(
        asyncio.run(judge.all()),
        removed=following.removed(reader),
        permission=judge.permission,
    )


def _anchors(encoded: Sequence[str]) -> list[x509.Certificate]:
    return [
        x509.Certificate.load(der)
        for text in encoded
        for _, _, der in pem.unarmor(text.encode(), multiple=True)
    ]


@dataclass(frozen=True, slots=True)
class _Proof:
    """What the newest sound document timestamp behind a revision shows: it existed `at`."""

    at: datetime
    valid_until: datetime | None
    complete: bool


class _Judge:
    def __init__(
        self, reader: PdfFileReader, anchors: list[x509.Certificate], now: datetime
    ) -> None:
        self._reader = reader
        self._now = now
        following.require_few_revisions(reader)
        self._found, self._unreadable = _collect(reader)
        self._material = Material(reader, anchors, _bags(self._found))
        self.permission = following.certified_with(self._found)
        self._policy = following.policy(self.permission)
        self._policy.expect(reader, (one.signed_revision for one in self._found))

    async def all(self) -> tuple[SignatureReport, ...]:
        """Newest first, so that each timestamp vouches for what stands before it."""
        proof: _Proof | None = None
        reports = []
        for embedded in reversed(self._found):
            timestamp = str(embedded.sig_object["/Type"]) == "/DocTimeStamp"
            try:
                self._material.require_few_chains(_bag(embedded))
                one = await (self._timestamp if timestamp else self._signature)(embedded, proof)
            except (LimitExceeded, MemoryError):
                raise
            except Exception as error:  # noqa: BLE001 - a hostile signature is a finding, no crash
                kind = "timestamp" if timestamp else "signature"
                one = _unreadable(embedded.field_name, kind, type(error).__name__)
            reports.append(one)
            if timestamp and one.integrity and one.trusted and one.time is not None:
                whole = one.revocation == "checked" and (proof is None or proof.complete)
                until = proof.valid_until if proof else one.valid_until
                proof = _Proof(one.time, until, whole)
        return (*reversed(reports), *self._unreadable)

    async def _timestamp(self, embedded: Any, proof: _Proof | None) -> SignatureReport:
        stamped_at = _generated_at(embedded.signed_data)
        status: Any = None
        for require in (True, False):
            status = await async_validate_pdf_timestamp(
                embedded,
                self._material.context(stamped_at, require=require),
                diff_policy=self._policy,
            )
            if status.trusted or status.revoked:
                break
        ends_at = _ends_at(status.validation_path)
        expired = _expired(ends_at, proof, self._now)
        checked = require and status.trusted
        return self._report(
            embedded,
            status,
            kind="timestamp",
            trusted=status.trusted and not expired,
            time=stamped_at,
            time_source="timestamp",
            level="B-LTA" if checked and not expired else "B-T",
            revocation=_revocation(status, checked=checked),
            valid_until=ends_at if proof is None else proof.valid_until,
            problems=(*expired, *_incomplete(status, checked=checked)),
        )

    async def _signature(self, embedded: Any, proof: _Proof | None) -> SignatureReport:
        token_time = _token_time(embedded)
        bound = proof.at if proof else self._now
        moment = token_time or bound
        status: Any = None
        for require in (True, False):
            status = await async_validate_pdf_signature(
                embedded,
                self._material.context(moment, require=require),
                self._material.context(moment, require=require),
                diff_policy=self._policy,
            )
            if _trusted(status) or status.revoked:
                break
        checked = require and _trusted(status)
        stamp = status.timestamp_validity
        ends_at = _ends_at((stamp or status).validation_path)
        expired = _expired(ends_at, proof, self._now)
        raw = _raw(status.signing_cert)
        return self._report(
            embedded,
            status,
            await self._out_of_time(embedded, status, moment),
            kind="signature",
            trusted=_trusted(status) and not expired and not raw,
            time=token_time or embedded.self_reported_timestamp,
            time_source="timestamp" if token_time else "claimed by the signer",
            level=_level(token_time, proof, checked=checked),
            revocation=_revocation(status, checked=checked),
            valid_until=proof.valid_until if proof else ends_at,
            problems=(*raw, *expired, *_incomplete(status, checked=checked)),
        )

    def _report(
        self, embedded: Any, status: Any, out_of_time: str | None = None, **judged: Any
    ) -> SignatureReport:
        covers = following.covers(embedded)
        later = [one for one in self._found if one.signed_revision > embedded.signed_revision]
        changes, allowed = (
            following.what_follows(embedded, status, later, self.permission)
            if covers
            else ("other", True)
        )
        path = status.validation_path
        found = SignatureReport(
            field=str(embedded.field_name),
            integrity=bool(covers and status.intact and status.valid),
            covers_whole_file=changes == "none",
            changes=changes,
            signer=_name(status.signing_cert),
            organisation=_organisation(status.signing_cert),
            certificate=status.signing_cert.sha256.hex(),
            trust_anchor=_name(path.first) if path else None,
            detail=status.summary(),
            **judged,
        )
        return msgspec.structs.replace(
            found, code=self._code(found, status, covers, allowed, out_of_time)
        )

    def _code(
        self,
        found: SignatureReport,
        status: Any,
        covers: bool,  # noqa: FBT001 - facts, not switches
        allowed: bool,  # noqa: FBT001
        out_of_time: str | None,
    ) -> str:
        """The first of the faults that a signature has, worst first."""
        stamp = getattr(status, "timestamp_validity", None)
        faults = {
            "not-covering": not covers,
            "changed": not status.intact,
            "signature-wrong": not status.valid,
            "not-permitted": not allowed,
            "added": found.changes == "other",
            "timestamp-wrong": stamp is not None and not (stamp.intact and stamp.valid),
            "revoked": bool(status.revoked),
            "raw-key": RAW_KEY in found.problems,
        }
        for code, holds in faults.items():
            if holds:
                return code
        if found.trusted:
            return "valid"
        if out_of_time is not None:
            return out_of_time
        if not status.trusted:
            return "unknown-root" if status.validation_path is None else "chain-invalid"
        untrusted_time = stamp is not None and not stamp.trusted
        return "timestamp-untrusted" if untrusted_time else "expired"

    async def _out_of_time(self, embedded: Any, status: Any, moment: datetime) -> str | None:
        """Whether the chain holds, only not at the time that counts."""
        certificate = status.signing_cert
        first, last = certificate.not_valid_before, certificate.not_valid_after
        if status.trusted or status.revoked or first <= moment <= last:
            return None
        context = self._material.context(first + (last - first) / 2, require=False)
        then = await async_validate_pdf_signature(
            embedded, context, context, diff_policy=self._policy
        )
        if not then.trusted:
            return None
        return "expired" if moment > last else "not-yet-valid"


def _bag(embedded: Any) -> list[x509.Certificate]:
    """The certificates that a signature brings, those of the timestamps in it included.

    Raises:
        LimitExceeded: more than any honest signature has.
    """
    signer = embedded.signer_info
    tokens = [
        value["content"]
        for attribute in (*(signer["signed_attrs"] or ()), *(signer["unsigned_attrs"] or ()))
        if attribute["type"].native in _TOKENS
        for value in attribute["values"]
    ]
    bags = [one["certificates"] or () for one in (embedded.signed_data, *tokens)]
    limits.require(
        sum(map(len, bags)),
        limits.MAX_SIGNATURE_CERTIFICATES,
        f"certificates in {str(embedded.field_name)[:_SHOWN]!r} and its timestamps",
        "ask the signer for a file with the certificates of the chain only",
    )
    return readable(one.chosen.dump() for bag in bags for one in bag if one.name == "certificate")


def _bags(found: Sequence[Any]) -> list[list[x509.Certificate]]:
    """Those of all signatures; one that cannot be read is a finding of its own, later.

    Raises:
        LimitExceeded: one has too many.
    """
    bags = []
    for embedded in found:
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            bags.append(_bag(embedded))
    return bags


def _collect(reader: PdfFileReader) -> tuple[list[Any], list[SignatureReport]]:
    """The filled signature fields in the order of their revisions, and those that are none."""
    found, unreadable = [], []
    fields = list(enumerate_sig_fields(reader, filled_status=True))
    limits.require(
        len(fields),
        limits.MAX_SIGNATURES,
        "signatures and document timestamps",
        "extend it less often: once a year is enough",
    )
    for name, _, field in fields:
        try:
            embedded = EmbeddedPdfSignature(reader, field, name)
            found.append((embedded.signed_revision, embedded))
        except Exception as error:  # noqa: BLE001 - a hostile signature is a finding
            unreadable.append(_unreadable(name, "signature", type(error).__name__))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])], unreadable


def _generated_at(signed_data: Any) -> datetime:
    moment: datetime = signed_data["encap_content_info"]["content"].parsed["gen_time"].native
    return moment


def _token_time(embedded: Any) -> datetime | None:
    """GenTime of the signature timestamp; whether it holds is judged elsewhere."""
    for attribute in embedded.signer_info["unsigned_attrs"] or ():
        if attribute["type"].native == "signature_time_stamp_token":
            return _generated_at(attribute["values"][0]["content"])
    return None


def _name(certificate: x509.Certificate) -> str:
    subject = certificate.subject.native
    return str(subject.get("common_name") or certificate.subject.human_friendly)


def _organisation(certificate: x509.Certificate) -> str | None:
    named = certificate.subject.native.get("organization_name")
    return str(named) if named else None


def _trusted(status: Any) -> bool:
    stamp = status.timestamp_validity
    return bool(
        status.trusted and (stamp is None or (stamp.valid and stamp.intact and stamp.trusted))
    )


def _ends_at(path: Any) -> datetime | None:
    """The end of the first certificate to expire; the trust anchor's own end does not count."""
    if path is None:
        return None
    ends = [certificate.not_valid_after for certificate in path.iter_certs(include_root=False)]
    return min(ends, default=None)


def _expired(ends_at: datetime | None, proof: _Proof | None, now: datetime) -> tuple[str, ...]:
    """Why the last proof of the time can no longer be relied on, if it cannot."""
    if ends_at is None or ends_at >= (proof.at if proof else now):
        return ()
    return (f"its certificate expired on {ends_at:%Y-%m-%d}, before a new timestamp was added",)


def _revocation(status: Any, *, checked: bool) -> str:
    if status.revoked:
        return "revoked"
    return "checked" if checked else "not checked"


def _raw(certificate: x509.Certificate) -> tuple[str, ...]:
    """What is wrong with a key that signs any digest, whatever its owner says it was of."""
    purposes = certificate.extended_key_usage_value or ()
    return (RAW_KEY,) if RAW_SIGNING in {one.dotted for one in purposes} else ()


def _incomplete(status: Any, *, checked: bool) -> tuple[str, ...]:
    if checked or status.revoked or not status.trusted:
        return ()
    return ("the file does not hold all that is needed to check revocation without a network",)


def _level(token_time: datetime | None, proof: _Proof | None, *, checked: bool) -> str:
    """The level that the material in the file really supports (EN 319 142-1, 6.3)."""
    if token_time is None:
        return "B-LTA" if checked and proof is not None and proof.complete else "B-B"
    if not checked:
        return "B-T"
    return "B-LTA" if proof is not None and proof.complete else "B-LT"


def _unreadable(name: object, kind: str, detail: str) -> SignatureReport:
    return SignatureReport(
        field=str(name),
        kind=kind,
        integrity=False,
        trusted=False,
        covers_whole_file=False,
        changes="other",
        signer="",
        trust_anchor=None,
        time=None,
        time_source="",
        level="",
        revocation="not checked",
        code="unreadable",
        detail=f"the signature cannot be read ({detail})",
    )


if __name__ == "__main__":
    sys.exit(main())
