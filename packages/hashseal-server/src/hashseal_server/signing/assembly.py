"""From parts to a file signature, and from signatures to the answer of a call. Pure.

The same functions make an answer the first time and again from what was recorded: the octets are
the same (I3). They are part of what is kept: another encoding needs another way to tell old rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from hashseal_core import cms, protocol, tsp
from hashseal_core.algorithms import Digest, SignatureAlgorithm
from hashseal_core.errors import FaultySignature, Internal
from hashseal_server.seals.model import Seal
from hashseal_server.signing.model import Delivery, KeptSignature, MadeSignature
from hashseal_server.tsa import token as tokens
from hashseal_server.tsa.token import MadeToken, TokenParts

ENCODER = msgspec.json.Encoder(decimal_format="string")


def algorithm_of(seal: Seal, digest: Digest) -> SignatureAlgorithm:
    """What the seal's key signs with: the digest algorithm is the document's."""
    return SignatureAlgorithm(seal.scheme, digest.algorithm)


def assemble(
    name: str,
    seal: Seal,
    digest: Digest,
    signature_value: bytes,
    token: MadeToken | None,
    signing_time: datetime | None = None,
) -> MadeSignature:
    """The file signature around a signature value."""
    signed_data = cms.frame(algorithm_of(seal, digest), seal.chain).assemble(
        cms.signed_attributes(digest, seal.chain[0], signing_time=signing_time),
        signature_value,
        timestamp_token=token.der if token else None,
    )
    return MadeSignature(name, digest, signature_value, token, signed_data, signing_time)


def signer_of(kept: KeptSignature, seals: Sequence[Seal]) -> Seal:
    """The seal as it was when it signed; `seals` are all its certificates, one after the other.

    Where the record does not say which one it was, the signature does: it is over attributes that
    name the certificate.

    Raises:
        Internal: none of them signed this.
    """
    digest = kept.record.digest
    for seal in seals:
        if kept.certificate == seal.serial:
            return seal
        if kept.certificate is None:
            attributes = cms.signed_attributes(
                digest, seal.chain[0], signing_time=kept.signing_time
            )
            try:
                cms.verify_signature_value(
                    seal.chain[0], algorithm_of(seal, digest), attributes, kept.signature_value
                )
            except FaultySignature:
                continue
            return seal
    raise Internal("the certificate of a recorded signature is not there")


def reassemble(
    kept: KeptSignature, seal: Seal, units: Mapping[int, Sequence[bytes]]
) -> MadeSignature:
    """A recorded signature as it was; `units` are the chains of timestamping units by serial."""
    token = None if kept.token_content is None else _token(kept, kept.token_content, units)
    digest, signing_time = kept.record.digest, kept.signing_time
    return assemble(kept.record.id, seal, digest, kept.signature_value, token, signing_time)


def _token(kept: KeptSignature, content: bytes, units: Mapping[int, Sequence[bytes]]) -> MadeToken:
    if kept.token_signature is None or kept.tsu is None:
        parsed = tsp.parse_token(content)
        return MadeToken(content, parsed.content, parsed.signing_certificate)
    chain = units[kept.tsu]
    attributes = tsp.signed_attributes(content, chain[0], tokens.ALGORITHM.digest)
    return MadeToken(
        tokens.frame(chain).assemble(attributes, kept.token_signature, content),
        tsp.parse_tst_info(content),
        chain[0],
        TokenParts(content, kept.token_signature, kept.tsu),
    )


def describe(token: MadeToken) -> protocol.Timestamp:
    """A token with its decoded content."""
    content = token.content
    return protocol.Timestamp(
        token=token.der,
        time=content.generated_at,
        serial=str(content.serial),
        policy=content.policy,
        accuracy_ms=content.accuracy_ms,
    )


def render(delivery: Delivery) -> bytes:
    """The answer of a signing call, JSON octets."""
    validation, left = delivery.validation, delivery.left
    part: Any = msgspec.Raw(validation) if validation is not None else None
    return ENCODER.encode(
        protocol.SignedDocuments(
            id=delivery.call_id,
            seal=protocol.SealReference(delivery.seal_id, delivery.appearance_digest),
            signatures=[
                protocol.FileSignature(
                    id=one.id,
                    hash=one.digest.value,
                    signature=one.signed_data,
                    timestamp=describe(one.token) if one.token else None,
                )
                for one in delivery.signatures
            ],
            charged=len(delivery.signatures),
            balance=protocol.Balance(free=left.free, paid=left.paid),
            validation=part,
        )
    )
