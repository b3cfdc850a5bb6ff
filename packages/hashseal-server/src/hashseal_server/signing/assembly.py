"""From parts to a file signature, and from signatures to the answer of a call. Pure.

The same functions make an answer the first time and again from what was recorded: the octets are
the same (I3). They are part of what is kept: another encoding needs another way to tell old rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from hashseal_core import cms, protocol, tsp
from hashseal_core.algorithms import Digest, SignatureAlgorithm
from hashseal_server.accounts.quota import Balance
from hashseal_server.seals.model import Seal
from hashseal_server.signing.model import KeptSignature, MadeSignature
from hashseal_server.tsa import token as tokens
from hashseal_server.tsa.token import MadeToken

ENCODER = msgspec.json.Encoder(decimal_format="string")


def algorithm_of(seal: Seal, digest: Digest) -> SignatureAlgorithm:
    """What the seal's key signs with: the digest algorithm is the document's."""
    return SignatureAlgorithm(seal.scheme, digest.algorithm)


def assemble(
    name: str, seal: Seal, digest: Digest, signature_value: bytes, token: MadeToken | None
) -> MadeSignature:
    """The file signature around a signature value."""
    signed_data = cms.frame(algorithm_of(seal, digest), seal.chain).assemble(
        cms.signed_attributes(digest, seal.chain[0]),
        signature_value,
        timestamp_token=token.der if token else None,
    )
    return MadeSignature(name, digest, signature_value, token, signed_data)


def reassemble(
    kept: KeptSignature, seal: Seal, units: Mapping[int, Sequence[bytes]]
) -> MadeSignature:
    """A recorded signature as it was; `units` are the chains of timestamping units by serial."""
    token = None
    if kept.token_content is not None and kept.token_signature is not None and kept.tsu is not None:
        around = tokens.frame(units[kept.tsu])
        attributes = tokens.to_be_signed(around, kept.token_content)
        token = MadeToken(
            around.assemble(attributes, kept.token_signature, kept.token_content),
            tsp.parse_tst_info(kept.token_content),
            kept.token_content,
            kept.token_signature,
            kept.tsu,
        )
    return assemble(kept.record.id, seal, kept.record.digest, kept.signature_value, token)


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


def render(
    call_id: str,
    seal_id: str,
    signatures: Sequence[MadeSignature],
    validation: bytes | None,
    left: Balance,
) -> bytes:
    """The answer of a signing call, JSON octets; `validation` is JSON already."""
    part: Any = msgspec.Raw(validation) if validation is not None else None
    return ENCODER.encode(
        protocol.SignedDocuments(
            id=call_id,
            seal=protocol.SealReference(id=seal_id),
            signatures=[
                protocol.FileSignature(
                    id=one.id,
                    hash=one.digest.value,
                    signature=one.signed_data,
                    timestamp=describe(one.token) if one.token else None,
                )
                for one in signatures
            ],
            charged=len(signatures),
            balance=protocol.Balance(free=left.free, paid=left.paid),
            validation=part,
        )
    )
