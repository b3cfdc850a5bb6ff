"""The child process: `python -m hashseal.validation.judge FILE`, anchors (PEM) on standard input.

Writes a `Report` as JSON. Memory and CPU are limited before the file is opened; nothing is ever
fetched. The rule on what may follow a signature is stricter than pyHanko's: only validation
material and document timestamps.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from asn1crypto import pem, x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import (
    CatalogModificationRule,
    DocInfoRule,
    DSSCompareRule,
    FormUpdatingRule,
    MetadataUpdateRule,
    ModificationLevel,
    ObjectStreamRule,
    SigFieldCreationRule,
    SigFieldModificationRule,
    StandardDiffPolicy,
    XrefStreamRule,
)
from pyhanko.sign.validation import (
    async_validate_pdf_signature,
    async_validate_pdf_timestamp,
)
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.sign.validation.errors import NoDSSFoundError
from pyhanko.sign.validation.status import SignatureCoverageLevel
from pyhanko_certvalidator import ValidationContext

from hashseal.validation.report import SignatureReport, conclude

MEMORY_OCTETS = 2 << 30
CPU_SECONDS = 50
POLICY = StandardDiffPolicy(
    global_rules=[
        CatalogModificationRule(),
        DocInfoRule().as_qualified(ModificationLevel.LTA_UPDATES),
        ObjectStreamRule().as_qualified(ModificationLevel.LTA_UPDATES),
        XrefStreamRule().as_qualified(ModificationLevel.LTA_UPDATES),
        DSSCompareRule().as_qualified(ModificationLevel.LTA_UPDATES),
        MetadataUpdateRule().as_qualified(ModificationLevel.LTA_UPDATES),
    ],
    form_rule=FormUpdatingRule([SigFieldCreationRule(), SigFieldModificationRule()]),
)
MAX_SIGNATURES = 32
MAX_OBJECTS = 64


def main() -> int:
    """Judge one file; exit 1 when it cannot be read."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_OCTETS, MEMORY_OCTETS))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    logging.disable(logging.CRITICAL)
    anchors = _anchors(sys.stdin.buffer.read())
    try:
        with Path(sys.argv[1]).open("rb") as file:
            reader = PdfFileReader(file, strict=False)
            if reader.encrypted:
                reader.decrypt("")
            reports = asyncio.run(_Judge(reader, anchors).all())
    except Exception:  # noqa: BLE001 - whatever a hostile file provokes, the answer is the same
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(conclude(reports)))
    return 0


def _anchors(encoded: bytes) -> list[x509.Certificate]:
    if not encoded.strip():
        return []
    return [x509.Certificate.load(der) for _, _, der in pem.unarmor(encoded, multiple=True)]


class _Judge:
    def __init__(self, reader: PdfFileReader, anchors: list[x509.Certificate]) -> None:
        self._reader = reader
        self._anchors = anchors
        try:
            self._dss: Any = DocumentSecurityStore.read_dss(reader)
        except NoDSSFoundError:
            self._dss = None

    async def all(self) -> tuple[SignatureReport, ...]:
        found = self._reader.embedded_signatures
        if len(found) > MAX_SIGNATURES:
            raise ValueError("too many signatures")
        return tuple([await self._one(embedded) for embedded in found])

    def _context(self, moment: datetime | None = None, *, require: bool) -> ValidationContext:
        arguments = {
            "trust_roots": self._anchors,
            "allow_fetching": False,
            "revocation_mode": "require" if require else "soft-fail",
            "moment": moment,
            "retroactive_revinfo": True,
        }
        if self._dss is None:
            return ValidationContext(**arguments)
        if len(self._dss.ocsps) + len(self._dss.crls) > MAX_OBJECTS:
            raise ValueError("too many revocation objects")
        return self._dss.as_validation_context(arguments)

    async def _one(self, embedded: Any) -> SignatureReport:
        timestamp = str(embedded.sig_object["/Type"]) == "/DocTimeStamp"
        evidence = self._dss is not None
        token_time = None if timestamp else _token_time(embedded)
        try:
            if timestamp:
                stamped_at = (
                    embedded.signed_data["encap_content_info"]["content"].parsed["gen_time"].native
                )
                status = await async_validate_pdf_timestamp(
                    embedded, self._context(stamped_at, require=evidence), diff_policy=POLICY
                )
            else:
                status = await async_validate_pdf_signature(
                    embedded,
                    self._context(token_time, require=evidence),
                    self._context(token_time, require=evidence),
                    diff_policy=POLICY,
                )
        except Exception as error:  # noqa: BLE001 - a hostile signature is a finding, not a crash
            return _unreadable(embedded, timestamp=timestamp, detail=type(error).__name__)
        whole = status.coverage == SignatureCoverageLevel.ENTIRE_FILE
        changes = "none" if whole else _changes(status, self._reader, embedded)
        later_stamps = _later_timestamps(self._reader, embedded)
        path = status.validation_path
        return SignatureReport(
            field=str(embedded.field_name),
            kind="timestamp" if timestamp else "signature",
            integrity=bool(status.intact and status.valid),
            trusted=bool(status.trusted and (timestamp or _timestamp_trusted(status))),
            covers_whole_file=whole,
            changes=changes,
            signer=_name(status.signing_cert),
            trust_anchor=_name(path.first) if path else None,
            time=status.timestamp if timestamp else token_time or embedded.self_reported_timestamp,
            time_source="timestamp" if timestamp or token_time else "claimed by the signer",
            level=_level(token_time, evidence=evidence, stamped=later_stamps or timestamp),
            revocation="revoked" if status.revoked else "checked" if evidence else "not checked",
            detail=status.summary(),
        )


def _token_time(embedded: Any) -> datetime | None:
    """GenTime of the signature timestamp; whether it holds is judged elsewhere."""
    for attribute in embedded.signer_info["unsigned_attrs"] or ():
        if attribute["type"].native == "signature_time_stamp_token":
            signed_data = attribute["values"][0]["content"]
            moment: datetime = (
                signed_data["encap_content_info"]["content"].parsed["gen_time"].native
            )
            return moment
    return None


def _name(certificate: x509.Certificate) -> str:
    subject = certificate.subject.native
    return str(subject.get("common_name") or certificate.subject.human_friendly)


def _timestamp_trusted(status: Any) -> bool:
    validity = status.timestamp_validity
    return validity is None or bool(validity.valid and validity.intact and validity.trusted)


def _changes(status: Any, reader: PdfFileReader, embedded: Any) -> str:
    """What follows the signature, by the strict policy: no form values, no annotations."""
    level = status.modification_level
    if level == ModificationLevel.NONE:
        return "none"
    if level == ModificationLevel.LTA_UPDATES:
        return "evidence"
    later = [
        one for one in reader.embedded_signatures if one.signed_revision > embedded.signed_revision
    ]
    if level != ModificationLevel.FORM_FILLING or not later:
        return "other"
    stamps = all(str(one.sig_object["/Type"]) == "/DocTimeStamp" for one in later)
    return "evidence" if stamps else "signatures"


def _later_timestamps(reader: PdfFileReader, embedded: Any) -> bool:
    return any(
        stamp.signed_revision > embedded.signed_revision
        for stamp in reader.embedded_timestamp_signatures
    )


def _level(token_time: datetime | None, *, evidence: bool, stamped: bool) -> str:
    if evidence and stamped:
        return "B-LTA"
    if token_time is None:
        return "B-B"
    return "B-LT" if evidence else "B-T"


def _unreadable(embedded: Any, *, timestamp: bool, detail: str) -> SignatureReport:
    return SignatureReport(
        field=str(embedded.field_name),
        kind="timestamp" if timestamp else "signature",
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
        detail=f"the signature cannot be read ({detail})",
    )


if __name__ == "__main__":
    sys.exit(main())
