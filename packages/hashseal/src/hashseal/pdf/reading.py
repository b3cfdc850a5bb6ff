"""Reads what a file says about itself: its signatures, its form, its evidence. Verifies nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from hashseal.pdf import evidence_store, form, restrictions
from hashseal.pdf.document import Document, opened
from hashseal.pdf.model import EmbeddedSignature, Inspection
from hashseal.pdf.objects import Stream, String, as_array, as_dictionary, as_integer
from hashseal_core.errors import PdfError

_PDFA = re.compile(rb"pdfaid:part\s*(?:=\s*[\"']|>)\s*(\d)")
_PDFA_LEVEL = re.compile(rb"pdfaid:conformance\s*(?:=\s*[\"']|>)\s*([A-Za-z])")
_LINEARIZED_WITHIN = 1 << 11
_RANGE_PARTS = 4


def read_signatures(source: Path, password: str | None = None) -> tuple[EmbeddedSignature, ...]:
    """The signatures and document timestamps of a file, in the order they were made.

    Raises:
        PdfError: the file cannot be read.
        InputUnreadable: likewise.
    """
    with opened(source, password) as document:
        return _signatures(document)


def _signatures(document: Document) -> tuple[EmbeddedSignature, ...]:
    found = []
    for field in form.fields(document):
        if field.kind != b"Sig":
            continue
        signature = as_dictionary(document.resolve(field.dictionary.get(b"V")))
        contents = document.resolve(signature.get(b"Contents"))
        numbers = [
            as_integer(item, -1) for item in as_array(document.resolve(signature.get(b"ByteRange")))
        ]
        if not isinstance(contents, String) or len(numbers) != _RANGE_PARTS or min(numbers) < 0:
            continue
        subfilter = document.resolve(signature.get(b"SubFilter"))
        end = numbers[2] + numbers[3]
        found.append(
            EmbeddedSignature(
                field_name=field.name,
                subfilter=subfilter.decode("latin-1") if isinstance(subfilter, bytes) else "",
                byte_range=(numbers[0], numbers[1], numbers[2], numbers[3]),
                contents=contents.value,
                signed_revision_size=end,
                kind="timestamp" if signature.get(b"Type") == b"DocTimeStamp" else "signature",
                docmdp=restrictions.permission(document, signature),
                covers_whole_file=numbers[0] == 0 and end == len(document.buffer),
            )
        )
    return tuple(sorted(found, key=lambda item: item.signed_revision_size))


def inspect(source: Path, password: str | None = None) -> Inspection:
    """What a file is.

    Raises:
        PdfError: the file cannot be read.
        InputUnreadable: likewise.
    """
    with opened(source, password) as document:
        catalog = document.catalog
        acroform = as_dictionary(document.resolve(catalog.get(b"AcroForm")))
        return Inspection(
            version=document.version,
            pages=sum(1 for _ in document.pages()),
            size=len(document.buffer),
            encrypted=document.handler is not None,
            linearized=document.buffer.find(b"/Linearized", 0, _LINEARIZED_WITHIN) >= 0,
            cross_reference=_kind(document),
            pdfa=_pdfa(document),
            signatures=_signatures(document),
            empty_signature_fields=tuple(
                field.name
                for field in form.fields(document)
                if field.kind == b"Sig" and b"V" not in field.dictionary
            ),
            docmdp=restrictions.certification(document, form.signatures(document)),
            xfa=b"XFA" in acroform,
            dss_certificates=len(evidence_store.stored(document, b"Certs")),
            dss_ocsp_responses=len(evidence_store.stored(document, b"OCSPs")),
            dss_crls=len(evidence_store.stored(document, b"CRLs")),
        )


def _kind(document: Document) -> Literal["table", "stream", "hybrid", "repaired"]:
    if document.repaired:
        return "repaired"
    sections = document.references.sections
    if any(section.hybrid is not None for section in sections):
        return "hybrid"
    return "stream" if sections[0].is_stream else "table"


def _pdfa(document: Document) -> str | None:
    try:
        stream = document.resolve(document.catalog.get(b"Metadata"))
        metadata = document.decoded(stream) if isinstance(stream, Stream) else b""
    except PdfError:
        return None
    part = _PDFA.search(metadata)
    level = _PDFA_LEVEL.search(metadata)
    if part is None:
        return None
    return "PDF/A-" + part[1].decode() + (level[1].decode().lower() if level else "")
