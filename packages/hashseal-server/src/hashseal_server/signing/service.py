"""Sign hashes.

The order inside one call is that of the safety rules:

idempotency look-up and balance → build attributes, sign, verify → timestamp, verify → collect
validation material → one transaction (record, charge, audit, answer) → answer. Nothing is held
before that transaction; whatever fails until then, nobody ever sees the signature.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import msgspec

from hashseal_core import cms, evidence, protocol, tsp
from hashseal_core.algorithms import Digest, Level, SignatureAlgorithm, digest_algorithm
from hashseal_core.errors import (
    EntitlementMissing,
    EvidenceInvalid,
    EvidenceUnavailable,
    FaultySignature,
    FollowUpUsed,
    InvalidValue,
    NotFound,
    SealExpired,
    SealRevoked,
)
from hashseal_core.evidence import ValidationMaterial
from hashseal_server.accounts.model import DOCUMENTS, AccountId, Principal
from hashseal_server.accounts.quota import Balance
from hashseal_server.infra.commit import RequestIdentity
from hashseal_server.infra.crash import passing
from hashseal_server.keystore.port import KeyStore
from hashseal_server.seals.model import Seal
from hashseal_server.signing.model import Call, FollowUp, MadeSignature, Record

_ENCODER = msgspec.json.Encoder(decimal_format="string")
_ASSESSED = 1_000


class SigningRecords(Protocol):
    """See `hashseal_server.signing.store`."""

    async def look_up(self, request: RequestIdentity, calls: int) -> bytes | None: ...
    async def commit(self, request: RequestIdentity, call: Call) -> bytes: ...
    async def commit_follow_up(self, request: RequestIdentity, made: FollowUp) -> bytes: ...
    async def record(self, account_id: AccountId, signature_id: str) -> Record: ...
    async def follow_up_taken(self, signature_id: str) -> bool: ...


class SealBook(Protocol):
    """See `hashseal_server.seals.service`."""

    async def find(self, account_id: AccountId, seal_id: str) -> Seal: ...
    def signature_size(self, seal: Seal) -> int: ...


class EvidenceSource(Protocol):
    """See `hashseal_server.pki.service`."""

    async def find(self, serial: int) -> Issued: ...
    async def material_for(self, certificate: bytes) -> ValidationMaterial: ...


class Issued(Protocol):
    """A certificate that is known here, DER."""

    @property
    def certificate(self) -> bytes: ...
    @property
    def revoked_at(self) -> datetime | None: ...


class Timestamps(Protocol):
    """See `hashseal_server.tsa.service`."""

    @property
    def tsu_certificate(self) -> bytes: ...
    def token(self, digest: Digest) -> bytes: ...


class SigningService:
    """The sign-a-hash use case."""

    def __init__(
        self,
        *,
        records: SigningRecords,
        seals: SealBook,
        keystore: KeyStore,
        timestamps: Timestamps,
        evidence_source: EvidenceSource,
        now: Callable[[], datetime],
    ) -> None:
        self._records = records
        self._seals = seals
        self._keystore = keystore
        self._timestamps = timestamps
        self._evidence = evidence_source
        self._now = now
        self._assessed: dict[
            tuple[bytes, ...], tuple[list[ValidationMaterial], protocol.Validation]
        ] = {}

    async def sign(
        self, caller: Principal, asked: protocol.SignDocuments, request: RequestIdentity
    ) -> bytes:
        """Sign every hash or none; the answer as JSON octets.

        Raises:
            InvalidRequest, Denied, NotFound, Unavailable: nothing charged, nothing released.
        """
        if DOCUMENTS not in caller.entitlements:
            raise EntitlementMissing("the account may not sign documents")
        if (earlier := await self._records.look_up(request, len(asked.hashes))) is not None:
            return earlier
        passing("asked")
        level = read_level(asked.level)
        algorithm = digest_algorithm(asked.hash_algorithm)
        digests = [Digest(algorithm, value) for value in asked.hashes]
        seal = await self._usable(caller.account_id, asked.seal_id)
        now = self._now()
        call_id = secrets.token_hex(16)
        made = await asyncio.to_thread(self._make, call_id, seal, digests, level)
        try:
            validation = await self._validation_of(seal, level)
        except EvidenceUnavailable:
            await self._usable(caller.account_id, asked.seal_id)  # revoked meanwhile: say that
            raise
        passing("signed")
        call = Call(
            id=call_id,
            account_id=caller.account_id,
            token_id=caller.token_id,
            seal_id=seal.id,
            serials=(seal.serial,),
            level=level.value,
            signatures=made,
            at=now,
            render=lambda left: _answer(call_id, seal, made, validation, left),
        )
        answer = await self._records.commit(request, call)
        passing("answered")
        return answer

    async def timestamp(
        self, caller: Principal, asked: protocol.TimestampDocument, request: RequestIdentity
    ) -> bytes:
        """The document timestamp that follows a signature, free once; JSON octets.

        Raises:
            InvalidRequest, Denied, NotFound, Unavailable: nothing released.
        """
        if DOCUMENTS not in caller.entitlements:
            raise EntitlementMissing("the account may not sign documents")
        if (earlier := await self._records.look_up(request, 0)) is not None:
            return earlier
        digest = Digest(digest_algorithm(asked.hash_algorithm), asked.hash)
        await self._records.record(caller.account_id, asked.signature_id)
        if await self._records.follow_up_taken(asked.signature_id):
            raise FollowUpUsed("the signature's document timestamp was taken")
        token = self._timestamps.token(digest)
        described = describe_token(token)
        validation = await self._complete([self._timestamps.tsu_certificate])
        answer = _ENCODER.encode(
            protocol.TimestampedDocument(timestamp=described, validation=validation)
        )
        made = FollowUp(
            caller.account_id, asked.signature_id, described.serial, answer, self._now()
        )
        return await self._records.commit_follow_up(request, made)

    async def validation(self, asked: protocol.CollectValidation) -> protocol.CollectedValidation:
        """Fresh validation material for certificates that signed before; free.

        Raises:
            EvidenceUnavailable: fresh status data cannot be made now.
        """
        leaves: list[bytes] = []
        unknown, revoked = [], []
        for serial in dict.fromkeys(asked.serials):
            try:
                found = await self._evidence.find(int(serial))
            except NotFound:
                unknown.append(serial)
                continue
            if found.revoked_at is not None:
                revoked.append(serial)
            else:
                leaves.append(found.certificate)
        material = await self._complete(leaves) if leaves else None
        for serial in asked.serials:  # the material may be older than a revocation (I11)
            if serial not in {*unknown, *revoked}:
                found = await self._evidence.find(int(serial))
                if found.revoked_at is not None:
                    return await self.validation(asked)
        return protocol.CollectedValidation(unknown, revoked, material)

    async def _usable(self, account_id: AccountId, seal_id: str) -> Seal:
        seal = await self._seals.find(account_id, seal_id)
        status = seal.status(self._now())
        if status == "revoked":
            raise SealRevoked("the seal's certificate has been revoked", field="seal_id")
        if status == "expired":
            raise SealExpired("the seal's certificate has expired", field="seal_id")
        return seal

    def _make(
        self, call_id: str, seal: Seal, digests: list[Digest], level: Level
    ) -> tuple[MadeSignature, ...]:
        """Every signature of the call; runs in a thread, since RSA takes milliseconds each."""
        return tuple(
            self._make_one(f"{call_id}-{index}", seal, digest, level)
            for index, digest in enumerate(digests)
        )

    def _make_one(self, name: str, seal: Seal, digest: Digest, level: Level) -> MadeSignature:
        algorithm = SignatureAlgorithm(seal.scheme, digest.algorithm)
        attributes = cms.signed_attributes(digest, seal.chain[0])
        value = self._keystore.sign(seal.key, attributes, algorithm)
        token = serial = None
        if level.has_timestamp:
            token = self._timestamps.token(tsp.imprint_of(value))
            serial = str(tsp.parse_token(token).content.serial)
        signed_data = cms.assemble(
            signature_algorithm=algorithm,
            signed_attributes_der=attributes,
            signature_value=value,
            certificates=seal.chain,
            timestamp_token=token,
        )
        cms.check(cms.parse(signed_data), digest)
        if len(signed_data) > self._seals.signature_size(seal):
            raise FaultySignature("the signature is larger than the published size")
        return MadeSignature(name, digest, signed_data, token, serial)

    async def _validation_of(self, seal: Seal, level: Level) -> protocol.Validation | None:
        if not level.has_validation:
            return None
        return await self._complete([seal.chain[0], self._timestamps.tsu_certificate])

    async def _complete(self, leaves: list[bytes]) -> protocol.Validation:
        """What is complete for the same material stays so until its end: it is assessed once."""
        materials = [await self._evidence.material_for(leaf) for leaf in leaves]
        known = self._assessed.get(tuple(leaves))
        if known is not None:
            same = all(old is new for old, new in zip(known[0], materials, strict=True))
            if same and self._now() < known[1].valid_until:
                return known[1]
        validation = self._assess(leaves, evidence.merge(*materials))
        if len(self._assessed) >= _ASSESSED:
            self._assessed.clear()
        self._assessed[tuple(leaves)] = materials, validation
        return validation

    def _assess(self, leaves: list[bytes], material: ValidationMaterial) -> protocol.Validation:
        try:
            valid_until = evidence.require_complete(leaves, material, at=self._now())
        except EvidenceInvalid as error:
            raise EvidenceUnavailable(error.detail) from error
        responders = evidence.certificates_of(material.ocsp_responses)
        certificates = dict.fromkeys((*material.certificates, *responders))
        return protocol.Validation(
            certificates=list(certificates),
            ocsp_responses=list(material.ocsp_responses),
            crls=list(material.crls),
            valid_until=valid_until,
        )


def read_level(name: str) -> Level:
    """The conformance level of this name.

    Raises:
        InvalidValue: there is none.
    """
    try:
        return Level(name)
    except ValueError as error:
        known = ", ".join(level.value for level in Level)
        raise InvalidValue(f"level is one of {known}", field="level") from error


def describe_token(token: bytes) -> protocol.Timestamp:
    """A token with its decoded content."""
    content = tsp.parse_token(token).content
    return protocol.Timestamp(
        token=token,
        time=content.generated_at,
        serial=str(content.serial),
        policy=content.policy,
        accuracy_ms=content.accuracy_ms,
    )


def _answer(
    call_id: str,
    seal: Seal,
    made: tuple[MadeSignature, ...],
    validation: protocol.Validation | None,
    left: Balance,
) -> bytes:
    return _ENCODER.encode(
        protocol.SignedDocuments(
            id=call_id,
            seal=protocol.SealReference(id=seal.id),
            signatures=[
                protocol.FileSignature(
                    id=one.id,
                    hash=one.digest.value,
                    signature=one.signed_data,
                    timestamp=describe_token(one.token) if one.token else None,
                )
                for one in made
            ],
            charged=len(made),
            balance=protocol.Balance(free=left.free, paid=left.paid),
            validation=validation,
        )
    )
