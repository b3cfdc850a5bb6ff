"""The values that go in and out of `hashseal.pdf`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Literal

from hashseal.pdf.drawing import Drawing
from hashseal.pdf.file_tag import FileTag
from hashseal.pdf.placement import Place
from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import HashsealError, PdfNotPrepared

Certify = Literal["no-changes", "form-filling", "annotations"]
ByteRange = tuple[int, int, int, int]
CADES = "ETSI.CAdES.detached"
TIMESTAMP = "ETSI.RFC3161"


@dataclass(frozen=True, slots=True)
class SealAppearance:
    """A seal that is to be seen.

    Attributes:
        drawing: the picture, from `read_drawing`.
        lines: text beside the seal, one line each; becomes outlines.
        alternative_text: for those who cannot see it; None is the picture's title and the lines.
    """

    drawing: Drawing
    place: Place = field(default_factory=Place)
    lines: tuple[str, ...] = ()
    alternative_text: str | None = None


@dataclass(frozen=True, slots=True)
class SignatureOptions:
    """What the signature field and its dictionary say.

    Attributes:
        field_name: a new name, or that of an empty signature field; None makes a new one.
        contents_size: room for the signature, in DER octets.
        signing_time: the claimed time /M, aware; None is now.
        certify: also certify the document, and what that still allows.
        appearance: None makes the field invisible.
    """

    contents_size: int
    digest_algorithm: DigestAlgorithm = DigestAlgorithm.SHA256
    field_name: str | None = None
    reason: str | None = None
    location: str | None = None
    contact: str | None = None
    name: str | None = None
    certify: Certify | None = None
    password: str | None = None
    signing_time: datetime | None = None
    subfilter: str = CADES
    appearance: SealAppearance | None = None


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """A prepared file, to be stored and resumed; holds nothing of the document but its digest.

    Attributes:
        covered_fields: names of fields that the seal's picture covers in part or whole.
        tag: lets the process that prepared a large file recognise it in `embed`; never stored, and
            not kept by `dataclasses.replace`, since it belongs to these values only.
    """

    digest: Digest
    byte_range: ByteRange
    contents_offset: int
    contents_length: int
    file_size: int
    field_name: str
    original_size: int
    covered_fields: tuple[str, ...] = ()
    tag: FileTag | None = field(default=None, init=False, repr=False, compare=False)

    def known_by(self, tag: FileTag) -> PreparedDocument:
        """The same with the tag of this very file."""
        made = replace(self)
        object.__setattr__(made, "tag", tag)
        return made

    def to_json(self) -> str:
        """As a JSON object."""
        values = asdict(self)
        del values["tag"]
        values["digest"] = {"algorithm": self.digest.algorithm, "value": self.digest.value.hex()}
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> PreparedDocument:
        """The value that `to_json` wrote.

        Raises:
            PdfNotPrepared: the text is not one, or its numbers contradict each other.
        """
        try:
            values = json.loads(text)
            stored = values.pop("digest")
            first, first_length, second, second_length = (
                int(item) for item in values.pop("byte_range")
            )
            digest = Digest(DigestAlgorithm(stored["algorithm"]), bytes.fromhex(stored["value"]))
            prepared = cls(
                digest=digest,
                byte_range=(first, first_length, second, second_length),
                field_name=str(values.pop("field_name")),
                covered_fields=tuple(map(str, values.pop("covered_fields", ()))),
                **{key: int(value) for key, value in values.items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, HashsealError):
            raise PdfNotPrepared("this is not a prepared document") from None
        consistent = (
            first == 0
            and first_length == prepared.contents_offset > 0
            and second == first_length + prepared.contents_length + 2
            and second + second_length == prepared.file_size
            and prepared.contents_length > 0
            and second_length > 0
        )
        if not consistent:
            raise PdfNotPrepared("the numbers of the prepared document contradict each other")
        return prepared


@dataclass(frozen=True, slots=True)
class EmbeddedSignature:
    """A signature or document timestamp in a file; `contents` has its padding still."""

    field_name: str
    subfilter: str
    byte_range: ByteRange
    contents: bytes
    signed_revision_size: int
    kind: Literal["signature", "timestamp"]
    docmdp: int | None
    covers_whole_file: bool


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a file is, as far as signing cares."""

    version: str
    pages: int
    size: int
    encrypted: bool
    linearized: bool
    cross_reference: Literal["table", "stream", "hybrid", "repaired"]
    pdfa: str | None
    signatures: tuple[EmbeddedSignature, ...]
    empty_signature_fields: tuple[str, ...]
    docmdp: int | None
    xfa: bool
    dss_certificates: int
    dss_ocsp_responses: int
    dss_crls: int
