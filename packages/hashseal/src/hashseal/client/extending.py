"""Keep a signed file verifiable: fresh evidence, then a new document timestamp over it (B-LTA).

EN 319 142-1, 6.3: repeatable for ever, as long as it is done before the last timestamp's
certificate expires. Evidence comes from the configured service alone, never from an address inside
the file (I19); only serial numbers of certificates and one hash travel.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from hashseal import pdf
from hashseal.client import wire
from hashseal.client.checking import check_material, check_timestamp
from hashseal.client.signing import TIMESTAMP_SIZE
from hashseal.client.wire import Workflow
from hashseal.output import copy, unfinished
from hashseal_core import cms, protocol, tsp
from hashseal_core.algorithms import DigestAlgorithm
from hashseal_core.errors import EvidenceUnavailable, HashsealError, PdfUnsupported
from hashseal_core.evidence import ValidationMaterial

_NONCE_BITS = 64


@dataclass(frozen=True, slots=True)
class Extension:
    """What was added.

    `without_evidence` names certificates of which the service has no fresh evidence to give, each
    with the reason: `unknown` (another provider's) or `revoked` (what the file has must suffice).
    """

    source: Path
    output: Path
    signatures: int
    timestamp_at: datetime
    timestamp_serial: str
    material: ValidationMaterial
    without_evidence: tuple[tuple[str, str], ...]
    octets_sent: int


@dataclass(frozen=True, slots=True)
class _Leaves:
    """Signing certificates in the file, by serial number, and each signature's /Contents.

    `contents` leaves document timestamps out, for which no VRI entry is made; `number` counts them.
    """

    certificates: dict[int, bytes]
    contents: tuple[bytes, ...]
    number: int


def extend(
    source: Path, output: Path, *, password: str | None = None, overwrite: bool = False
) -> Workflow[Extension]:
    """Extend `source` into `output`.

    Raises:
        PdfUnsupported: the file has no signature.
        EvidenceUnavailable: the service knows none of the file's signers.
        HashsealError: otherwise; nothing was written.
    """
    with unfinished(source, output, overwrite=overwrite) as draft:
        leaves = _leaves(source, password)
        copy(source, draft)
        request = wire.collect_validation(sorted(leaves.certificates))
        octets = len(request.body)
        found = wire.read((yield request), protocol.CollectedValidation)
        if found.validation is None and not found.revoked:
            raise EvidenceUnavailable("the service knows none of the certificates in this file")
        material = check_material(found.validation) if found.validation else ValidationMaterial()
        pdf.add_validation(draft, material, contents=leaves.contents, password=password)
        prepared = pdf.prepare_timestamp(
            draft,
            contents_size=TIMESTAMP_SIZE,
            digest_algorithm=DigestAlgorithm.SHA256,
            password=password,
        )
        nonce = secrets.randbits(_NONCE_BITS)
        request = wire.timestamp_query(tsp.build_request(prepared.digest, nonce=nonce))
        octets += len(request.body)
        token = tsp.token_of_response(wire.read_octets((yield request)))
        unit = x509.load_der_x509_certificate(tsp.parse_token(token).signing_certificate)
        request = wire.collect_validation([unit.serial_number])
        octets += len(request.body)
        own = wire.read((yield request), protocol.CollectedValidation).validation
        if own is None:
            raise EvidenceUnavailable("the service has no evidence for its own timestamping unit")
        stamp = check_timestamp(token, prepared.digest, own, nonce=nonce)
        pdf.embed(draft, prepared, stamp.token)
        pdf.add_validation(draft, stamp.material, password=password)
        return Extension(
            source=source,
            output=output,
            signatures=leaves.number,
            timestamp_at=stamp.generated_at,
            timestamp_serial=str(tsp.parse_token(token).content.serial),
            material=material,
            without_evidence=_named(leaves, found),
            octets_sent=octets,
        )


def _leaves(source: Path, password: str | None) -> _Leaves:
    """Certificates of every signer and every timestamping unit; what cannot be read is left out."""
    certificates: dict[int, bytes] = {}
    contents: list[bytes] = []
    number = 0
    for embedded in pdf.read_signatures(source, password):
        try:
            signed_data = cms.parse(cms.strip_padding(embedded.contents))
            signers = [signed_data.signing_certificate]
            if signed_data.timestamp_token is not None:
                signers.append(tsp.parse_token(signed_data.timestamp_token).signing_certificate)
        except HashsealError:
            continue
        for der in signers:
            certificates[x509.load_der_x509_certificate(der).serial_number] = der
        number += 1
        if embedded.kind == "signature":
            contents.append(embedded.contents)
    if not number:
        raise PdfUnsupported("the file has no signature that could be extended")
    return _Leaves(certificates, tuple(contents), number)


def _named(leaves: _Leaves, found: protocol.CollectedValidation) -> tuple[tuple[str, str], ...]:
    named = []
    for serials, reason in ((found.unknown, "unknown"), (found.revoked, "revoked")):
        for serial in serials:
            der = leaves.certificates.get(int(serial))
            if der is not None:
                subject = x509.load_der_x509_certificate(der).subject.rfc4514_string()
                named.append((subject, reason))
    return tuple(named)
