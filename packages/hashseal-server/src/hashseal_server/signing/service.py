"""Sign hashes.

The order inside one call is that of the safety rules:

idempotency look-up and balance → build attributes, sign, verify → timestamp, verify → collect
validation material → one transaction (record, charge, audit, answer) → answer. Nothing is held
before that transaction; whatever fails until then, nobody ever sees the signature.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Protocol

import msgspec

from hashseal_core import cms, protocol, tsp
from hashseal_core.algorithms import Digest, KeyAlgorithm, Level, digest_algorithm
from hashseal_core.errors import (
    EntitlementMissing,
    EvidenceUnavailable,
    FaultySignature,
    FollowUpUsed,
    InvalidValue,
    SealExpired,
    SealNotFound,
    SealRevoked,
)
from hashseal_server.accounts.model import DOCUMENTS, AccountId, Principal
from hashseal_server.accounts.quota import Balance, spend
from hashseal_server.infra.commit import Answer, Recorded, RequestIdentity
from hashseal_server.infra.crash import passing
from hashseal_server.keystore import verified
from hashseal_server.keystore.port import DocumentOrder, KeyStore, Signers
from hashseal_server.seals.model import Seal
from hashseal_server.signing.assembly import (
    ENCODER,
    algorithm_of,
    assemble,
    describe,
    reassemble,
    render,
)
from hashseal_server.signing.evidence import Evidence, EvidenceSource
from hashseal_server.signing.model import (
    Arrival,
    Call,
    FollowUp,
    Found,
    KeptCall,
    MadeSignature,
    Record,
    ValidationSet,
)
from hashseal_server.tsa.token import MadeToken

_KEPT = 10_000
_MILLISECONDS: Mapping[KeyAlgorithm, float] = {
    KeyAlgorithm.P256: 0.25,
    KeyAlgorithm.P384: 1.5,
    KeyAlgorithm.P521: 2.5,
    KeyAlgorithm.RSA2048: 0.7,
    KeyAlgorithm.RSA3072: 2.0,
    KeyAlgorithm.RSA4096: 4.5,
}
"""About what one signature with its timestamp takes; whatever is longer than `_LONG` in all is made
in a thread, so that the event loop goes on. For the others the change of thread costs more."""
_LONG = 5.0
_TOGETHER = 16
"""Tokens of one call that are asked of the signers at a time."""


class SigningRecords(Protocol):
    """See `hashseal_server.signing.store`."""

    async def look_up(self, arrival: Arrival) -> Found: ...
    async def commit(self, request: RequestIdentity, call: Call) -> Answer: ...
    async def commit_follow_up(self, request: RequestIdentity, made: FollowUp) -> Answer: ...
    async def kept(self, account_id: AccountId, recorded: Recorded) -> KeptCall: ...
    async def record(self, account_id: AccountId, signature_id: str) -> Record: ...
    async def follow_up_taken(self, signature_id: str) -> bool: ...


class SealBook(Protocol):
    """See `hashseal_server.seals.service`."""

    async def find(self, account_id: AccountId, seal_id: str) -> Seal: ...
    def signature_size(self, seal: Seal) -> int: ...


class Timestamps(Protocol):
    """See `hashseal_server.tsa.service`."""

    @property
    def tsu_certificate(self) -> bytes: ...
    def token(self, digest: Digest) -> MadeToken: ...
    async def issue(self, digest: Digest) -> MadeToken: ...


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
        step: Callable[[str], AbstractContextManager[object]] = nullcontext,
        signers: Signers | None = None,
    ) -> None:
        self._records = records
        self._step = step
        self._signers = signers
        self._seals = seals
        self._keystore = keystore
        self._timestamps = timestamps
        self._now = now
        self._evidence = Evidence(evidence_source, now)
        self._ready: dict[tuple[str, str], tuple[Seal, int]] = {}

    async def look_up(self, arrival: Arrival) -> Found:
        """What is known when a call arrives; `sign` and `timestamp` go on from it.

        Raises:
            Overloaded, StorageUnavailable.
        """
        return await self._records.look_up(arrival)

    async def sign(
        self,
        caller: Principal,
        asked: protocol.SignDocuments,
        request: RequestIdentity,
        found: Found,
    ) -> bytes:
        """Sign every hash or none; the answer as JSON octets.

        Raises:
            InvalidRequest, Denied, NotFound, Unavailable: nothing charged, nothing released.
        """
        require_documents(caller)
        if found.earlier is not None:
            return await self._again(caller.account_id, found.earlier.to(request))
        spend(found.balance, len(asked.hashes))
        passing("asked")
        level = read_level(asked.level)
        algorithm = digest_algorithm(asked.hash_algorithm)
        digests = [Digest(algorithm, value) for value in asked.hashes]
        seal, size = await self._usable(caller.account_id, asked.seal_id, found.seal_state)
        now = self._now()
        call_id = secrets.token_hex(16)
        with self._step("sign"):
            if self._signers is not None:
                made = await self._make_behind(self._signers, call_id, seal, digests, level)
            elif len(digests) * _MILLISECONDS[seal.key_algorithm] > _LONG:
                made = await asyncio.to_thread(self._make, call_id, seal, digests, level)
            else:
                made = self._make(call_id, seal, digests, level)
        if any(len(one.signed_data) > size for one in made):
            raise FaultySignature("the signature is larger than the published size")
        with self._step("evidence"):
            validation = await self._validation_of(seal, level)
        passing("signed")
        call = Call(
            id=call_id,
            account_id=caller.account_id,
            token_id=caller.token_id,
            seal_id=seal.id,
            serials=(seal.serial,),
            level=level.value,
            signatures=made,
            validation=validation,
            at=now,
        )
        with self._step("record"):
            answer = await self._records.commit(request, call)
        passing("answered")
        if isinstance(answer, Recorded) and answer.call_id == call_id:
            left = Balance(answer.free_left, answer.paid_left)
            return render(call_id, seal.id, made, validation.content if validation else None, left)
        return await self._again(caller.account_id, answer)

    async def timestamp(
        self,
        caller: Principal,
        asked: protocol.TimestampDocument,
        request: RequestIdentity,
        found: Found,
    ) -> bytes:
        """The document timestamp that follows a signature, free once; JSON octets.

        Raises:
            InvalidRequest, Denied, NotFound, Unavailable: nothing released.
        """
        require_documents(caller)
        if found.earlier is not None:
            return await self._again(caller.account_id, found.earlier.to(request))
        digest = Digest(digest_algorithm(asked.hash_algorithm), asked.hash)
        await self._records.record(caller.account_id, asked.signature_id)
        if await self._records.follow_up_taken(asked.signature_id):
            raise FollowUpUsed("the signature's document timestamp was taken")
        described = describe(await self._timestamps.issue(digest))
        validation = await self._evidence.complete([self._timestamps.tsu_certificate])
        answer = ENCODER.encode(
            protocol.TimestampedDocument(
                timestamp=described,
                validation=msgspec.Raw(validation.content),  # type: ignore[arg-type]
            )
        )
        made = FollowUp(
            caller.account_id, asked.signature_id, described.serial, answer, self._now()
        )
        outcome = await self._records.commit_follow_up(request, made)
        return await self._again(caller.account_id, outcome)

    async def validation(self, asked: protocol.CollectValidation) -> protocol.CollectedValidation:
        """Fresh validation material for certificates that signed before; free.

        Raises:
            EvidenceUnavailable: fresh status data cannot be made now.
        """
        return await self._evidence.collect(asked.serials)

    async def _again(self, account_id: AccountId, answer: Answer) -> bytes:
        """The octets of an answer that is recorded: the same ones (I3)."""
        if isinstance(answer, bytes):
            return answer
        kept = await self._records.kept(account_id, answer)
        seal = await self._seals.find(account_id, kept.signatures[0].record.seal_id)
        units = {
            serial: (await self._evidence.find(serial)).chain[:-1]
            for serial in {one.tsu for one in kept.signatures if one.tsu is not None}
        }
        made = [reassemble(one, seal, units) for one in kept.signatures]
        left = Balance(answer.free_left, answer.paid_left)
        return render(answer.call_id, seal.id, made, kept.validation, left)

    async def _usable(
        self, account_id: AccountId, seal_id: str, state: str | None
    ) -> tuple[Seal, int]:
        """The seal and its published size; all but its state never changes, so it is kept."""
        if state is None:
            raise SealNotFound("this account has no seal with that id", field="seal_id")
        if state == "revoked":
            raise SealRevoked("the seal's certificate has been revoked", field="seal_id")
        ready = self._ready.get((account_id, seal_id))
        if ready is None:
            seal = await self._seals.find(account_id, seal_id)
            if len(self._ready) >= _KEPT:
                self._ready.clear()
            ready = self._ready[account_id, seal_id] = seal, self._seals.signature_size(seal)
        if self._now() >= ready[0].not_after:
            raise SealExpired("the seal's certificate has expired", field="seal_id")
        return ready

    def _make(
        self, call_id: str, seal: Seal, digests: list[Digest], level: Level
    ) -> tuple[MadeSignature, ...]:
        """Every signature of the call; each is verified before it goes further (I7)."""
        return tuple(
            self._make_one(f"{call_id}-{index}", seal, digest, level)
            for index, digest in enumerate(digests)
        )

    def _make_one(self, name: str, seal: Seal, digest: Digest, level: Level) -> MadeSignature:
        certificate = seal.chain[0]
        value = verified.sign(
            self._keystore,
            seal.key,
            cms.signed_attributes(digest, certificate),
            algorithm_of(seal, digest),
            certificate,
        )
        token = self._timestamps.token(tsp.imprint_of(value)) if level.has_timestamp else None
        return assemble(name, seal, digest, value, token)

    async def _make_behind(
        self, signers: Signers, call_id: str, seal: Seal, digests: list[Digest], level: Level
    ) -> tuple[MadeSignature, ...]:
        """The same with keys behind signers, each of which takes one request at a time."""
        values = await verified.sign_documents(
            signers,
            DocumentOrder(
                account=seal.account_id,
                key=seal.key,
                certificate=seal.chain[0],
                algorithm=algorithm_of(seal, digests[0]),
                digests=digests,
            ),
        )
        tokens: list[MadeToken | None] = [None] * len(values)
        if level.has_timestamp:
            places = asyncio.Semaphore(_TOGETHER)  # a token's time is that of its turn

            async def issue(value: bytes) -> MadeToken:
                async with places:
                    return await self._timestamps.issue(tsp.imprint_of(value))

            tokens = list(await asyncio.gather(*map(issue, values)))
        return tuple(
            assemble(f"{call_id}-{index}", seal, *parts)
            for index, parts in enumerate(zip(digests, values, tokens, strict=True))
        )

    async def _validation_of(self, seal: Seal, level: Level) -> ValidationSet | None:
        if not level.has_validation:
            return None
        try:
            return await self._evidence.complete([seal.chain[0], self._timestamps.tsu_certificate])
        except EvidenceUnavailable:
            found = await self._seals.find(AccountId(seal.account_id), seal.id)
            if found.revoked:  # meanwhile: say that
                raise SealRevoked(
                    "the seal's certificate has been revoked", field="seal_id"
                ) from None
            raise


def require_documents(caller: Principal) -> None:
    """Whether the account may sign documents.

    Raises:
        EntitlementMissing: it may not.
    """
    if DOCUMENTS not in caller.entitlements:
        raise EntitlementMissing("the account may not sign documents")


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
