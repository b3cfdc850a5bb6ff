"""Prepares a file for a signature made elsewhere, and embeds it (ISO 32000-2, 12.8).

Invariants: the bytes of the input stand unchanged at the start of the output; the digest is
computed in one streaming pass; what is embedded goes into a file that hashes to the prepared digest.
"""  # noqa: E501

from __future__ import annotations

import hashlib
import os
from binascii import hexlify
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import NamedTuple, TypeAlias

from hashseal.pdf import draft, form
from hashseal.pdf.copying import copy
from hashseal.pdf.document import Document
from hashseal.pdf.file_tag import RunningTag
from hashseal.pdf.model import TIMESTAMP, ByteRange, PreparedDocument, SignatureOptions
from hashseal.pdf.objects import (
    Dictionary,
    Name,
    Raw,
    Ref,
    as_dictionary,
    date_string,
    text_string,
)
from hashseal.pdf.octet_ranges import RunningDigest, digest_of_ranges, feed
from hashseal.pdf.update import Update, placeholder
from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import (
    InvalidValue,
    PdfNotPrepared,
    SignatureTooLarge,
)

_MAXIMUM_CONTENTS = 1 << 20
_RANGE_ROOM = 60
_PERMISSIONS = {"no-changes": 1, "form-filling": 2, "annotations": 3}


class _Planned(NamedTuple):
    """The name of the field, its signature, and the fields that its seal covers."""

    field_name: str
    signature: Ref
    covered: tuple[str, ...] = ()


_Plan: TypeAlias = Callable[[Update, int], _Planned]
"""Puts an empty signature of that many digits into an update."""


def _contents_digits(contents_size: int) -> int:
    if not 0 < contents_size <= _MAXIMUM_CONTENTS:
        raise InvalidValue("contents_size is not between 1 and 1048576", field="contents_size")
    return 2 * contents_size


def prepare(source: Path, target: Path, options: SignatureOptions) -> PreparedDocument:
    """Write the source with an empty signature to the target, and say what to sign.

    The source is only read. When this raises, the target is gone or never was.

    Raises:
        PdfError: the file cannot be signed as asked; the subclass says why.
        InvalidValue: an option is outside what is allowed.
        InputUnreadable: the source cannot be read.
        OutputRefused: the target cannot be written.
    """
    digits = _contents_digits(options.contents_size)
    if options.signing_time is not None and options.signing_time.tzinfo is None:
        raise InvalidValue("signing_time has no time zone", field="signing_time")
    with draft.source_of(source, target) as reading:
        try:
            return _written(reading, source, target, digits, options)
        except BaseException:
            draft.discard(target)
            raise


def _written(
    reading: FileIO, source: Path, target: Path, digits: int, options: SignatureOptions
) -> PreparedDocument:
    running = RunningDigest(options.digest_algorithm)
    plan = partial(_signature, options=options)
    with draft.unreadable(source):
        octets = draft.whole(reading)
    if octets is not None:
        running.update(octets)
        appended, made = _closed(draft.held(octets, options.password), plan, digits, running)
        with draft.unwritable(target), target.open("wb") as writing:
            writing.write(octets + appended)
        return made
    with draft.unwritable(target), target.open("w+b") as writing:
        tag = RunningTag()
        copy(reading, writing, running.update, tag.update)
        writing.flush()
        with draft.mapped(writing, target, options.password) as document:
            appended, made = _closed(document, plan, digits, running, tag)
        writing.write(appended)
    return made


def _signature(update: Update, digits: int, options: SignatureOptions) -> _Planned:
    chosen = form.choose_field(update.document, options)
    dictionary: Dictionary = {
        b"Type": Name(b"Sig"), b"Filter": Name(b"Adobe.PPKLite"),
        b"SubFilter": Name(options.subfilter.encode("ascii", "replace")),
        b"ByteRange": Raw(b" " * _RANGE_ROOM), b"Contents": placeholder(digits),
        b"M": date_string(options.signing_time or datetime.now(UTC)),
    }  # fmt: skip
    for key, text in (
        (b"Name", options.name),
        (b"Reason", options.reason),
        (b"Location", options.location),
        (b"ContactInfo", options.contact),
    ):
        if text:
            dictionary[key] = text_string(text)
    if options.certify is not None:
        parameters: Dictionary = {
            b"Type": Name(b"TransformParams"), b"P": _PERMISSIONS[options.certify], b"V": Name(b"1.2"),  # noqa: E501
        }  # fmt: skip
        dictionary[b"Reference"] = [
            {
                b"Type": Name(b"SigRef"),
                b"TransformMethod": Name(b"DocMDP"),
                b"TransformParams": parameters,
            }
        ]
    elif isinstance(chosen, form.Field) and b"Lock" in chosen.dictionary:
        dictionary[b"Reference"] = [_field_lock(update, chosen)]
    signature = update.add(dictionary)
    covered: tuple[str, ...] = ()
    if isinstance(chosen, str):
        covered = form.add_field(update, chosen, signature, options.appearance)
        name = chosen
    else:
        form.sign_field(update, chosen, signature, options.appearance)
        name = chosen.name
    if options.certify is not None:
        kept = as_dictionary(update.document.resolve(update.document.catalog.get(b"Perms")))
        form.change_catalog(update, b"Perms", {**kept, b"DocMDP": signature})
    form.declare_extension(update)
    return _Planned(name, signature, covered)


def _field_lock(update: Update, field: form.Field) -> Dictionary:
    lock = as_dictionary(update.document.resolve(field.dictionary[b"Lock"]))
    parameters: Dictionary = {b"Type": Name(b"TransformParams"), b"V": Name(b"1.2")}
    parameters |= {key: lock[key] for key in (b"Action", b"Fields") if key in lock}
    return {
        b"Type": Name(b"SigRef"), b"TransformMethod": Name(b"FieldMDP"),
        b"TransformParams": parameters, b"Data": update.document.trailer[b"Root"],
    }  # fmt: skip


def prepare_timestamp(
    target: Path,
    *,
    contents_size: int,
    digest_algorithm: DigestAlgorithm = DigestAlgorithm.SHA256,
    password: str | None = None,
) -> PreparedDocument:
    """Append an empty document timestamp to the target in place (EN 319 142-1, 5.4.3).

    Raises:
        PdfError: the file cannot take one.
        InvalidValue: the size is outside what is allowed.
        InputUnreadable: the file cannot be read.
        OutputRefused: the file cannot be written.
    """
    digits = _contents_digits(contents_size)
    running = RunningDigest(digest_algorithm)
    with draft.changing(target) as file:
        with draft.unreadable(target):
            octets = draft.whole(file)
        if octets is not None:
            running.update(octets)
            appended, made = _closed(draft.held(octets, password), _timestamp, digits, running)
        else:
            tag = RunningTag()
            with draft.unreadable(target):
                feed(file, 0, os.fstat(file.fileno()).st_size, running.update, tag.update)
            with draft.mapped(file, target, password) as document:
                appended, made = _closed(document, _timestamp, digits, running, tag)
        with draft.unwritable(target):
            draft.write_at(file, made.original_size, appended)
    return made


def _timestamp(update: Update, digits: int) -> _Planned:
    signature = update.add(
        {
            b"Type": Name(b"DocTimeStamp"),
            b"Filter": Name(b"Adobe.PPKLite"),
            b"SubFilter": Name(TIMESTAMP.encode()),
            b"V": 0,
            b"ByteRange": Raw(b" " * _RANGE_ROOM),
            b"Contents": placeholder(digits),
        }  # fmt: skip  # noqa: RUF028
    )
    name = form.free_name(list(form.fields(update.document)), "Timestamp")
    form.add_field(update, name, signature)
    form.declare_extension(update)
    return _Planned(name, signature)


def _closed(
    document: Document,
    plan: _Plan,
    digits: int,
    running: RunningDigest,
    tag: RunningTag | None = None,
) -> tuple[bytes, PreparedDocument]:
    """The octets to append to the document, and what to sign; `running` and `tag` are of it."""
    update = Update(document)
    field_name, signature, under = plan(update, digits)
    appendix = update.render(hashlib.sha256(running.digest()).digest()[:16])
    octets = bytearray(appendix.octets)
    original_size = len(document.buffer)
    start = appendix.offsets[signature.number] - original_size
    hole = octets.index(b"/Contents <0", start) + len(b"/Contents ")
    contents_offset = original_size + hole
    after = contents_offset + digits + 2
    file_size = original_size + len(octets)
    text = b"[0 %d %d %d]" % (contents_offset, after, file_size - after)
    room = octets.index(b"/ByteRange ", start) + len(b"/ByteRange ")
    octets[room : room + _RANGE_ROOM] = text.ljust(_RANGE_ROOM)
    covered = bytes(octets[:hole]), bytes(octets[hole + digits + 2 :])
    made = PreparedDocument(
        digest=Digest(running.algorithm, running.digest(*covered)),
        byte_range=(0, contents_offset, after, file_size - after),
        contents_offset=contents_offset,
        contents_length=digits,
        file_size=file_size,
        field_name=field_name,
        original_size=original_size,
        covered_fields=under,
    )
    if tag is not None:
        for part in covered:
            tag.update(part)
        made = made.known_by(tag.finish())
    return bytes(octets), made


def embed(target: Path, prepared: PreparedDocument, signed_data_der: bytes) -> None:
    """Write the signature into its place; that it is over this digest is the caller's to check.

    Raises:
        PdfNotPrepared: the target is not the file that was prepared.
        SignatureTooLarge: the signature does not fit.
        InputUnreadable: the file cannot be read.
        OutputRefused: the file cannot be written.
    """
    digits = hexlify(signed_data_der)
    if len(digits) > prepared.contents_length:
        raise SignatureTooLarge(
            f"the signature has {len(signed_data_der)} octets, room is for {prepared.contents_length // 2}"  # noqa: E501
        )
    with draft.changing(target) as file:
        with draft.unreadable(target):
            _require_prepared(file, prepared)
        with draft.unwritable(target):
            draft.write_at(file, prepared.contents_offset + 1, digits)


def _require_prepared(file: FileIO, prepared: PreparedDocument) -> None:
    """The file is what was prepared, to the last octet.

    Raises:
        PdfNotPrepared: it is not.
        OSError: it cannot be read.
    """
    octets = draft.whole(file)
    if os.fstat(file.fileno()).st_size != prepared.file_size:
        raise PdfNotPrepared("the file does not have the size of the prepared one")
    hole = b"<" + b"0" * prepared.contents_length + b">"
    file.seek(prepared.contents_offset)
    if file.read(len(hole)) != hole:
        raise PdfNotPrepared("the file has no empty signature where it was prepared")
    if octets is not None:
        covered = octets[: prepared.byte_range[1]], octets[prepared.byte_range[2] :]
        digest = RunningDigest(prepared.digest.algorithm).digest(*covered)
        same = digest == prepared.digest.value
    elif prepared.tag is not None:
        running = prepared.tag.again()
        feed(file, *prepared.byte_range[:2], running.update)
        feed(file, *prepared.byte_range[2:], running.update)
        same = prepared.tag.fits(running)
    else:
        algorithm = prepared.digest.algorithm
        same = digest_of_ranges(file, prepared.byte_range, algorithm) == prepared.digest
    if not same:
        raise PdfNotPrepared("the file has another digest than the prepared one")


def digest_of(path: Path, byte_range: ByteRange, algorithm: DigestAlgorithm) -> Digest:
    """The digest of what a ByteRange covers, by streaming.

    Raises:
        PdfNotPrepared: the file is shorter than the range.
        InputUnreadable: the file cannot be read.
    """
    with draft.unreadable(path), path.open("rb", buffering=0) as file:
        return digest_of_ranges(file, byte_range, algorithm)
