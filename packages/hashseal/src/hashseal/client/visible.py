"""A seal that is to be seen: the service's picture, where it stands, and the text beside it."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeAlias

from cryptography import x509
from cryptography.x509.oid import NameOID

from hashseal import pdf
from hashseal_core import protocol
from hashseal_core.errors import AnswerMismatch, InvalidValue

Beside: TypeAlias = Literal["signer", "time", "reason", "location", "seal", "hint"]
BESIDE: tuple[Beside, ...] = ("signer", "time", "reason", "location", "seal", "hint")
HINT = "Verify with any PDF reader that checks signatures"


class Visibility(StrEnum):
    """What is seen of a signature."""

    NONE = "none"
    SEAL = "seal"
    SEAL_AND_TEXT = "seal-and-text"


@dataclass(frozen=True, slots=True)
class VisibleSeal:
    """How a signature is to be seen.

    Attributes:
        place: on which page, and where.
        beside: what stands beside the seal, in this order: who signed, the claimed time, reason and
            location (if they are given), the SealID, and `hint`.
        hint: how to verify, in a sentence.
        alternative_text: for those who cannot see it; None is made from the picture's title.
        pictures: SVG by digest; those that are in it are not fetched again.
    """

    place: pdf.Place = field(default_factory=pdf.Place)
    beside: tuple[Beside, ...] = ()
    hint: str = HINT
    alternative_text: str | None = None
    pictures: MutableMapping[str, bytes] = field(default_factory=dict, compare=False)

    def appearance(
        self, seal: protocol.Seal, svg: bytes, options: pdf.SignatureOptions
    ) -> pdf.SealAppearance:
        """The appearance of this seal under these options.

        Raises:
            AppearanceInvalid: the SVG is not a seal's picture.
            AnswerMismatch: it is the picture of another seal.
        """
        drawing = pdf.read_drawing(svg)
        if seal.appearance_digest not in {None, drawing.digest}:
            raise AnswerMismatch("the seal's picture is not the one that its description names")
        return pdf.SealAppearance(
            drawing=drawing,
            place=self.place,
            lines=self._lines(seal, options),
            alternative_text=self.alternative_text,
        )

    def _lines(self, seal: protocol.Seal, options: pdf.SignatureOptions) -> tuple[str, ...]:
        at = options.signing_time
        found: dict[Beside, str | None] = {
            "signer": f"Signed by {options.name or signer(seal)}",
            "time": f"Time: {_time(at)}" if at else None,
            "reason": f"Reason: {options.reason}" if options.reason else None,
            "location": f"Location: {options.location}" if options.location else None,
            "seal": f"Seal: {seal.id}",
            "hint": self.hint,
        }
        return tuple(line for line in (found[one] for one in self.beside) if line)


def signer(seal: protocol.Seal) -> str:
    """The name in the seal's certificate: its common name, else its organisation."""
    subject = x509.load_der_x509_certificate(seal.certificates[0]).subject
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in subject.get_attributes_for_oid(kind):
            if isinstance(attribute.value, str):
                return attribute.value
    return seal.subject


def _time(at: datetime) -> str:
    zone = at.strftime("%z")
    offset = f"UTC{zone[:3]}:{zone[3:5]}" if zone and int(zone) else "UTC"
    return f"{at:%Y-%m-%d %H:%M:%S} {offset}"


def seen(visibility: Visibility | None, place: str | None) -> VisibleSeal | None:
    """What two options say: nothing, the seal, or the seal with all that may stand beside it.

    Raises:
        InvalidValue: the place is none, or contradicts that nothing is to be seen.
    """
    if place is not None and visibility is Visibility.NONE:
        raise InvalidValue("a seal that is not seen has no place", field="seal_at")
    if place is None and visibility in {None, Visibility.NONE}:
        return None
    where = pdf.Place() if place is None else pdf.read_place(place)
    beside = BESIDE if visibility is Visibility.SEAL_AND_TEXT else ()
    return VisibleSeal(where, beside)
