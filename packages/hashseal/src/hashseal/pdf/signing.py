"""Prepares a file for a signature made elsewhere, and embeds it (ISO 32000-2, 12.8).

Invariants: the bytes of the input stand unchanged at the start of the output; the digest is
computed in one streaming pass; what is embedded goes into a file that hashes to the prepared digest.
"""  # noqa: E501

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from hashseal.pdf import form
from hashseal.pdf.document import Document
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
from hashseal.pdf.update import Appendix, Update, placeholder
from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import (
    InputUnreadable,
    InvalidValue,
    OutputRefused,
    PdfMalformed,
    PdfNotPrepared,
    SignatureTooLarge,
)

_CHUNK = 1 << 20
_MAXIMUM_CONTENTS = 1 << 20
_RANGE_ROOM = 60
_PERMISSIONS = {"no-changes": 1, "form-filling": 2, "annotations": 3}


class _Hash(Protocol):
    def update(self, octets: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


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
    running = hashlib.new(options.digest_algorithm.hashlib_name)
    original_size = _copy(source, target, running)
    try:
        with _mapped(target, options.password) as document:
            update = Update(document)
            field_name, signature = _signature(update, options, digits)
            appendix = update.render(hashlib.sha256(running.copy().digest()).digest()[:16])
        return _append(target, appendix, signature, digits, running, options.digest_algorithm,
                       field_name, original_size)  # fmt: skip
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _signature(update: Update, options: SignatureOptions, digits: int) -> tuple[str, Ref]:
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
    if isinstance(chosen, str):
        form.add_field(update, chosen, signature)
        name = chosen
    else:
        form.sign_field(update, chosen, signature)
        name = chosen.name
    if options.certify is not None:
        kept = as_dictionary(update.document.resolve(update.document.catalog.get(b"Perms")))
        form.change_catalog(update, b"Perms", {**kept, b"DocMDP": signature})
    form.declare_extension(update)
    return name, signature


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
    running = hashlib.new(digest_algorithm.hashlib_name)
    with _mapped(target, password) as document:
        size = len(document.buffer)
        for start in range(0, size, _CHUNK):
            running.update(document.buffer[start : start + _CHUNK])
        update = Update(document)
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
        name = form.free_name(list(form.fields(document)), "Timestamp")
        form.add_field(update, name, signature)
        form.declare_extension(update)
        appendix = update.render(hashlib.sha256(running.copy().digest()).digest()[:16])
    return _append(target, appendix, signature, digits, running, digest_algorithm, name, size)


def _append(
    target: Path, appendix: Appendix, signature: Ref, digits: int, running: _Hash,
    algorithm: DigestAlgorithm, field_name: str, original_size: int,
) -> PreparedDocument:  # fmt: skip
    octets = bytearray(appendix.octets)
    start = appendix.offsets[signature.number] - original_size
    hole = octets.index(b"<" + b"0" * digits + b">", start)
    contents_offset = original_size + hole
    after = contents_offset + digits + 2
    file_size = original_size + len(octets)
    text = b"[0 %d %d %d]" % (contents_offset, after, file_size - after)
    room = octets.index(b"/ByteRange ", start) + len(b"/ByteRange ")
    octets[room : room + _RANGE_ROOM] = text.ljust(_RANGE_ROOM)
    running.update(bytes(octets[:hole]))
    running.update(bytes(octets[hole + digits + 2 :]))
    try:
        with target.open("ab") as file:
            file.write(octets)
    except OSError as error:
        raise OutputRefused(f"{target.name} cannot be written: {error.strerror}") from None
    return PreparedDocument(
        digest=Digest(algorithm, running.digest()),
        byte_range=(0, contents_offset, after, file_size - after),
        contents_offset=contents_offset,
        contents_length=digits,
        file_size=file_size,
        field_name=field_name,
        original_size=original_size,
    )


def embed(target: Path, prepared: PreparedDocument, signed_data_der: bytes) -> None:
    """Write the signature into its place; that it is over this digest is the caller's to check.

    Raises:
        PdfNotPrepared: the target is not the file that was prepared.
        SignatureTooLarge: the signature does not fit.
        InputUnreadable: the file cannot be read.
        OutputRefused: the file cannot be written.
    """
    digits = signed_data_der.hex().encode()
    if len(digits) > prepared.contents_length:
        raise SignatureTooLarge(
            f"the signature has {len(signed_data_der)} octets, room is for {prepared.contents_length // 2}"  # noqa: E501
        )
    running = hashlib.new(prepared.digest.algorithm.hashlib_name)
    first, first_length, second, second_length = prepared.byte_range
    try:
        with target.open("rb") as file:
            if target.stat().st_size != prepared.file_size:
                raise PdfNotPrepared("the file does not have the size of the prepared one")
            _feed(file, first, first_length, running.update)
            hole = b"<" + b"0" * prepared.contents_length + b">"
            file.seek(prepared.contents_offset)
            if file.read(len(hole)) != hole:
                raise PdfNotPrepared("the file has no empty signature where it was prepared")
            _feed(file, second, second_length, running.update)
    except OSError as error:
        raise InputUnreadable(f"{target.name} cannot be read: {error.strerror}") from None
    if running.digest() != prepared.digest.value:
        raise PdfNotPrepared("the file has another digest than the prepared one")
    try:
        with target.open("r+b") as file:
            file.seek(prepared.contents_offset + 1)
            file.write(digits)
    except OSError as error:
        raise OutputRefused(f"{target.name} cannot be written: {error.strerror}") from None


def digest_of(path: Path, byte_range: ByteRange, algorithm: DigestAlgorithm) -> Digest:
    """The digest of what a ByteRange covers, by streaming.

    Raises:
        PdfNotPrepared: the file is shorter than the range.
        InputUnreadable: the file cannot be read.
    """
    running = hashlib.new(algorithm.hashlib_name)
    try:
        with path.open("rb") as file:
            _feed(file, byte_range[0], byte_range[1], running.update)
            _feed(file, byte_range[2], byte_range[3], running.update)
    except OSError as error:
        raise InputUnreadable(f"{path.name} cannot be read: {error.strerror}") from None
    return Digest(algorithm, running.digest())


def _feed(file: BinaryIO, start: int, length: int, take: Callable[[bytes], None]) -> None:
    file.seek(start)
    while length > 0:
        piece = file.read(min(length, _CHUNK))
        if not piece:
            raise PdfNotPrepared("the file is shorter than the prepared one")
        take(piece)
        length -= len(piece)


def _copy(source: Path, target: Path, running: _Hash) -> int:
    size = 0
    try:
        reading = source.open("rb")
    except OSError as error:
        raise InputUnreadable(f"{source.name} cannot be read: {error.strerror}") from None
    with reading:
        if target.exists() and target.samefile(source):
            raise OutputRefused("source and target are the same file")
        try:
            with target.open("wb") as writing:
                while piece := reading.read(_CHUNK):
                    running.update(piece)
                    writing.write(piece)
                    size += len(piece)
        except OSError as error:
            target.unlink(missing_ok=True)
            raise OutputRefused(f"{target.name} cannot be written: {error.strerror}") from None
    return size


class _mapped:  # noqa: N801 - reads as a verb
    """A document over a memory map, closed before the file grows."""

    def __init__(self, path: Path, password: str | None) -> None:
        self._path = path
        self._password = password
        self._buffer: mmap.mmap | None = None

    def __enter__(self) -> Document:
        try:
            with self._path.open("rb") as file:
                if self._path.stat().st_size == 0:
                    raise PdfMalformed("the file is empty")
                self._buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise InputUnreadable(f"{self._path.name} cannot be read: {error.strerror}") from None
        try:
            return Document(self._buffer, self._password)
        except BaseException:
            self._buffer.close()
            raise

    def __exit__(self, *_: object) -> None:
        if self._buffer is not None:
            self._buffer.close()
