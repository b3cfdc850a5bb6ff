"""Checks an answer before anything of it is written into a file. Pure; trusts nothing.

Held here (I17): the signature is over the digest that was sent, by the certificate of the seal that
was asked for; the timestamp is over this very signature value; the validation material is complete
for signer and timestamping unit, judged at the timestamp's time and not by a local clock. Nothing
is left over: the CMS is of our profile to the last octet, and each certificate, OCSP response and
list is what its maker signed, whether it is needed or not. A timestamp token may be another
authority's: what is added to it outside of what its unit signed, other than certificates, stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hashseal_core import cms, protocol, tsp
from hashseal_core.algorithms import Digest, Level
from hashseal_core.certificates import UNREADABLE
from hashseal_core.errors import AnswerMismatch, HashsealError
from hashseal_core.evidence import ValidationMaterial, require_complete
from hashseal_core.genuine import require_genuine, require_genuine_bag

PRODUCED_WITHIN = timedelta(minutes=1)
"""Status data may be made a little after the timestamp of the same call."""


@dataclass(frozen=True, slots=True)
class CheckedTimestamp:
    """A document timestamp that may be embedded, with the validation material of its unit."""

    token: bytes
    generated_at: datetime
    material: ValidationMaterial


def material_of(validation: protocol.Validation) -> ValidationMaterial:
    """The wire model as the core's value."""
    return ValidationMaterial(
        tuple(validation.certificates), tuple(validation.ocsp_responses), tuple(validation.crls)
    )


def check_material(validation: protocol.Validation) -> ValidationMaterial:
    """Validation material of which each piece is what its maker signed.

    Raises:
        AnswerMismatch: one is not.
    """
    material = material_of(validation)
    try:
        require_genuine(material)
    except HashsealError as error:
        raise AnswerMismatch(f"the validation material does not hold: {error.detail}") from error
    return material


def check_signature(
    answer: protocol.SignedDocuments, digest: Digest, seal: protocol.Seal, level: Level
) -> protocol.FileSignature:
    """The one signature of the answer, after every check that must precede embedding.

    That the seal's chain ends at a root that anybody trusts is not checked here.

    Raises:
        AnswerMismatch: it is not about what was asked, or does not hold.
    """
    if len(answer.signatures) != 1 or answer.signatures[0].hash != digest.value:
        raise AnswerMismatch("the answer is about another hash")
    if answer.seal.id != seal.id:
        raise AnswerMismatch("the answer is by another seal")
    made = answer.signatures[0]
    try:
        _check(made, answer.validation, digest, seal, level)
    except AnswerMismatch:
        raise
    except HashsealError as error:
        raise AnswerMismatch(f"the answer does not hold: {error.detail}") from error
    except UNREADABLE as error:
        raise AnswerMismatch("the answer holds a certificate that cannot be read") from error
    return made


def _check(
    made: protocol.FileSignature,
    validation: protocol.Validation | None,
    digest: Digest,
    seal: protocol.Seal,
    level: Level,
) -> None:
    signed_data = cms.parse(made.signature)
    cms.check(signed_data, digest)
    if not seal.certificates or signed_data.signing_certificate != seal.certificates[0]:
        raise AnswerMismatch("another certificate signed than the seal's")
    if not set(signed_data.certificates) <= set(seal.certificates):
        raise AnswerMismatch("there are other certificates in it than the seal's")
    token = signed_data.timestamp_token
    described = made.timestamp.token if made.timestamp else None
    if (token is not None) != level.has_timestamp or described != token:
        raise AnswerMismatch(f"the signature's timestamp is not as level {level} has it")
    if (validation is not None) != level.has_validation:
        raise AnswerMismatch(f"the validation material is not as level {level} has it")
    if made.signature != _encoded(signed_data):
        raise AnswerMismatch("the signature is not encoded as the profile has it")
    if token is None:
        return
    stamp = tsp.check_token(token, tsp.imprint_of(signed_data.signature_value))
    material = ValidationMaterial() if validation is None else check_material(validation)
    _require_genuine_token(stamp, (*seal.certificates, *material.certificates))
    if validation is not None:
        leaves = (signed_data.signing_certificate, stamp.signing_certificate)
        at = stamp.content.generated_at + PRODUCED_WITHIN
        require_complete(leaves, material, at=at)


def _encoded(signed_data: cms.SignedData) -> bytes:
    """The only encoding of these parts in our profile."""
    first = signed_data.signing_certificate
    return cms.assemble(
        signature_algorithm=signed_data.signature_algorithm,
        signed_attributes_der=signed_data.signed_attributes_der,
        signature_value=signed_data.signature_value,
        certificates=(first, *(one for one in signed_data.certificates if one != first)),
        timestamp_token=signed_data.timestamp_token,
    )


def _require_genuine_token(stamp: tsp.TimestampToken, known: tuple[bytes, ...]) -> None:
    data = stamp.signed_data
    require_genuine_bag(data.certificates, data.signing_certificate, known)


def check_timestamp(
    token_der: bytes,
    digest: Digest,
    validation: protocol.Validation,
    *,
    nonce: int | None = None,
) -> CheckedTimestamp:
    """A document timestamp and the validation material of its unit.

    Raises:
        AnswerMismatch: the token is not over the digest, or the material is not complete.
    """
    try:
        stamp = tsp.check_token(token_der, digest, nonce=nonce)
        material, at = check_material(validation), stamp.content.generated_at
        _require_genuine_token(stamp, material.certificates)
        require_complete((stamp.signing_certificate,), material, at=at + PRODUCED_WITHIN)
    except AnswerMismatch:
        raise
    except HashsealError as error:
        raise AnswerMismatch(f"the document timestamp does not hold: {error.detail}") from error
    except UNREADABLE as error:
        raise AnswerMismatch("the document timestamp holds what cannot be read") from error
    return CheckedTimestamp(token_der, at, material)
