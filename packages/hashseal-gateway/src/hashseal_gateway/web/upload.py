"""Documents as they come in: streamed to files that nobody else can read, within limits."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from hashseal_core.errors import (
    DocumentTooLarge,
    InvalidValue,
    MalformedRequest,
    StorageUnavailable,
    UnsupportedMediaType,
)
from hashseal_gateway.documents import options
from hashseal_gateway.documents.attempts import SOURCE
from hashseal_gateway.documents.model import Received
from hashseal_gateway.documents.options import DocumentOptions

PDF, ZIP, MULTIPART = "application/pdf", "application/zip", "multipart/form-data"
_PIECE = 1 << 20
_SLACK = 1 << 20
"""What a multipart body may be longer than its documents."""
_NAME = 200
_FIELD_OCTETS = 4 << 10


@dataclass(frozen=True, slots=True)
class Limits:
    """Octets of one document and of all, how many, and seconds for the whole body."""

    each: int
    together: int
    documents: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body, not read yet."""

    content_type: str
    content_length: int | None
    query: Mapping[str, str]
    stream: AsyncIterator[bytes]


@dataclass(slots=True)
class Taken:
    """What came: files, each with the name that its sender gave it, options, fields of a form."""

    documents: list[tuple[Received, str | None]] = field(default_factory=list)
    options: DocumentOptions = field(default_factory=DocumentOptions)
    fields: dict[str, str] = field(default_factory=dict)


class _Sink:
    """One file being written; most of it in a thread, in pieces."""

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._most = most
        self._size = 0
        self._digest = hashlib.sha256()
        self._waiting = bytearray()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(handle, "wb", buffering=0)

    async def take(self, octets: bytes) -> None:
        """More of it.

        Raises:
            DocumentTooLarge: it is longer than it may be.
        """
        self._size += len(octets)
        if self._size > self._most:
            raise DocumentTooLarge(f"a document has {self._most >> 20} MiB at most")
        self._waiting += octets
        if len(self._waiting) >= _PIECE:
            await asyncio.to_thread(self._flush)

    async def end(self) -> Received:
        """That was all.

        Raises:
            InvalidValue: it is empty.
        """
        self._flush()
        self.close()
        if not self._size:
            raise InvalidValue("the document is empty", field="document")
        return Received(self._path, self._size, self._digest.hexdigest())

    def close(self) -> None:
        self._file.close()

    def _flush(self) -> None:
        left = memoryview(bytes(self._waiting))
        self._waiting.clear()
        self._digest.update(left)
        while left:
            left = left[self._file.write(left) :]


async def take(
    body: Body,
    folder: Path,
    limits: Limits,
    *,
    archive: bool = False,
    fields: Collection[str] = (),
) -> Taken:
    """Read a body into `folder`; the first document is named like the source of its work.

    `archive` allows a zip, which is then the only document, packed still. `fields` are those of a
    page's form, which has no part `options`.

    Raises:
        UnsupportedMediaType, DocumentTooLarge, MalformedRequest, UnknownField, InvalidValue.
    """
    kind, parameters = parse_options_header(body.content_type)
    allowed = limits.together + _SLACK
    if body.content_length is not None and body.content_length > allowed:
        raise DocumentTooLarge(f"a body has {limits.together >> 20} MiB at most")
    try:
        async with asyncio.timeout(limits.seconds):
            if (kind == PDF and not fields) or (archive and kind == ZIP):
                return await _plain(body, folder, limits, kind)
            if kind == MULTIPART and parameters.get("boundary"):
                return await _parts(body, folder, limits, parameters["boundary"], fields)
    except TimeoutError:
        raise MalformedRequest(f"the body took more than {limits.seconds:.0f} s") from None
    except OSError as error:
        raise StorageUnavailable("the gateway's disk takes no document now") from error
    other = f", {ZIP}" if archive else ""
    raise UnsupportedMediaType(f"send {PDF}{other} or {MULTIPART}")


async def _plain(body: Body, folder: Path, limits: Limits, kind: str) -> Taken:
    found = options.from_query(body.query)
    sink = _Sink(folder / SOURCE, limits.together if kind == ZIP else limits.each)
    try:
        async for chunk in body.stream:
            await sink.take(chunk)
        return Taken([(await sink.end(), None)], found)
    finally:
        sink.close()


async def _parts(
    body: Body, folder: Path, limits: Limits, boundary: str, fields: Collection[str]
) -> Taken:
    """Parts named `document`, and at most one named `options`, or one for each field."""
    reading = _Reading(folder, limits, fields)
    most = limits.documents + max(1, len(fields))
    try:
        parser = PushMultipartParser(boundary, max_segment_count=most, strict=True)
        async for chunk in body.stream:
            if chunk:
                for event in parser.parse(chunk):
                    await reading.take(event)
        parser.close()
    except MultipartError as error:
        raise MalformedRequest("the body is not multipart/form-data within the limits") from error
    finally:
        reading.close()
    if body.query:
        raise InvalidValue(
            "options of a multipart body stand in its part `options`", field="options"
        )
    if not reading.taken.documents:
        raise InvalidValue("there is no part named `document`", field="document")
    return reading.taken


class _Reading:
    """Where the parts of one body go."""

    def __init__(self, folder: Path, limits: Limits, fields: Collection[str]) -> None:
        self.taken = Taken()
        self._fields = fields
        self._field: str | None = None
        self._value = bytearray()
        self._folder = folder
        self._limits = limits
        self._left = limits.together
        self._sink: _Sink | None = None
        self._name: str | None = None
        self._options: bytearray | None = None

    async def take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        """A part begins, goes on, or ends."""
        if isinstance(event, MultipartSegment):
            self._begin(event)
        elif event is None:
            await self._end()
        elif self._sink is not None:
            await self._sink.take(bytes(event))
        elif self._options is not None:
            self._options += event
            if len(self._options) > options.MAXIMUM_OCTETS:
                raise InvalidValue("the options have 16 KiB at most", field="options")
        elif self._field is not None:
            self._value += event
            if len(self._value) > _FIELD_OCTETS:
                raise InvalidValue("a field has 4 KiB at most", field=self._field)

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()

    def _begin(self, segment: MultipartSegment) -> None:
        if segment.name in self._fields:
            if segment.name in self.taken.fields:
                raise InvalidValue("there are two parts of one name", field=segment.name)
            self._field, self._value = segment.name, bytearray()
            return
        if segment.name == "options" and not self._fields:
            if self._options is not None:
                raise InvalidValue("there are two parts named `options`", field="options")
            self._options = bytearray()
            return
        if segment.name != "document":
            raise InvalidValue("parts are named `document` and `options`", field="document")
        if self._fields and not segment.filename:
            return  # what browsers send for a file that was not chosen
        number = len(self.taken.documents)
        if number >= self._limits.documents:
            raise InvalidValue(
                f"documents: {self._limits.documents} at most in one request", field="document"
            )
        name = segment.filename
        self._name = None if name is None else Path(name.replace("\\", "/")).name[:_NAME]
        path = self._folder / (SOURCE if number == 0 else f"{number}.pdf")
        self._sink = _Sink(path, min(self._limits.each, self._left))

    async def _end(self) -> None:
        if self._sink is not None:
            received = await self._sink.end()
            self._left -= received.size
            self.taken.documents.append((received, self._name))
            self._sink = None
        elif self._field is not None:
            self.taken.fields[self._field] = _text(self._value, self._field)
            self._field = None
        elif self._options is not None:
            self.taken.options = options.read(bytes(self._options))


def _text(octets: bytearray, name: str) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise InvalidValue("a field is not UTF-8", field=name) from error
