"""What the gateway and its confined processes say to each other (MessagePack)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from hashseal_core.errors import HashsealError, Internal
from hashseal_core.problems import error_from, problem_of
from hashseal_gateway.documents.options import SigningOptions


class Order(msgspec.Struct, frozen=True, tag_field="kind"):
    """Base of what may be ordered; paths are absolute."""


class Sign(Order, frozen=True, tag="sign"):
    """Prepare, have recorded, call, check, embed, check the whole: source to target.

    `picture` is the seal's, SVG, if the options have an appearance.
    """

    source: str
    target: str
    seal_id: str
    options: SigningOptions
    signing_time: datetime
    key: str
    password: str | None
    refuse: tuple[str, ...]
    picture: bytes | None = None


class Prepare(Order, frozen=True, tag="prepare"):
    """The first half: source to a target that waits for its signature."""

    source: str
    target: str
    seal_id: str
    options: SigningOptions
    signing_time: datetime
    key: str
    password: str | None
    refuse: tuple[str, ...]
    picture: bytes | None = None


class Resume(Order, frozen=True, tag="resume"):
    """The other half: a prepared source to the signed target."""

    source: str
    target: str
    prepared: str
    password: str | None


class Unpack(Order, frozen=True, tag="unpack"):
    """The PDF files of a zip into a folder, within limits."""

    source: str
    folder: str
    most_documents: int
    most_octets: int
    most_each: int


class Question(msgspec.Struct, frozen=True, tag_field="kind"):
    """Base of what a confined process may ask."""


class Call(Question, frozen=True, tag="call"):
    """Send this request to the service."""

    method: str
    path: str
    body: bytes
    headers: Mapping[str, str]


class Record(Question, frozen=True, tag="record"):
    """Store this before the call is made; `prepared` is a `PreparedSigning` as JSON."""

    prepared: str
    hash: str
    findings: tuple[str, ...]


class Reply(msgspec.Struct, frozen=True, tag_field="kind", tag="reply"):
    """The answer to a call."""

    status: int
    body: bytes
    retry_after: float | None = None


class Outcome(msgspec.Struct, frozen=True, tag_field="kind"):
    """Base of how an order may end."""


class Signed(Outcome, frozen=True, tag="signed"):
    """The target is there, whole; digests are SHA-256, hexadecimal."""

    signature_id: str
    seal_id: str
    level: str
    field_name: str
    digest_after: str
    size_after: int


class Prepared(Outcome, frozen=True, tag="prepared"):
    """The target is there and waits for its signature."""

    prepared: str
    hash: str
    findings: tuple[str, ...]


class Unpacked(Outcome, frozen=True, tag="unpacked"):
    """Names in the archive, in order; the files in the folder are named by their number from 0."""

    names: tuple[str, ...]


class Failed(Outcome, frozen=True, tag="failed"):
    """Nothing was made."""

    code: str
    detail: str
    field: str | None = None

    @classmethod
    def of(cls, error: HashsealError) -> Failed:
        """As it crosses the border between the processes."""
        return cls(problem_of(error).code, error.detail, error.field)

    def error(self) -> HashsealError:
        """The class that was raised."""
        return error_from(self.code, self.detail, field=self.field)


orders = msgspec.msgpack.Decoder(Sign | Prepare | Resume | Unpack)
replies = msgspec.msgpack.Decoder(Reply | Failed | None)
_questions: msgspec.msgpack.Decoder[Call | Record] = msgspec.msgpack.Decoder(Call | Record)
_outcomes: msgspec.msgpack.Decoder[Signed | Prepared | Unpacked | Failed] = msgspec.msgpack.Decoder(
    Signed | Prepared | Unpacked | Failed
)
_NONSENSE = "the process that reads the file said what it should not"


def read_question(octets: bytes) -> Call | Record:
    """What a confined process asks; a file may have taken it over.

    Raises:
        Internal: it is no question.
    """
    try:
        return _questions.decode(octets)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Internal(_NONSENSE) from error


def read_outcome(octets: bytes) -> Signed | Prepared | Unpacked | Failed:
    """How a confined process says that its order has ended; a file may have taken it over.

    Raises:
        Internal: it is no outcome.
    """
    try:
        return _outcomes.decode(octets)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Internal(_NONSENSE) from error
