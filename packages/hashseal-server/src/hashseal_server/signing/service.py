"""Sign hashes.

The order inside one call is that of the safety rules:

idempotency look-up and balance → build attributes, sign, verify → timestamp, verify → collect
validation material → one transaction (record, charge, audit, answer) → answer. Nothing is held
before that transaction; whatever fails until then, nobody ever sees the signature.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import msgspec

from hashseal_core import protocol
from hashseal_core.algorithms import Digest, Level, digest_algorithm
from hashseal_core.errors import (
    EntitlementMissing,
    EvidenceUnavailable,
    FaultySignature,
    FollowUpUsed,
    Internal,
    InvalidValue,
    KeystoreRefused,
    KeystoreUnavailable,
    SealNotFound,
    SealRevoked,
    TimestampUnavailable,
)
from hashseal_server.accounts.model import DOCUMENTS, AccountId, Principal
from hashseal_server.accounts.quota import Balance, spend
from hashseal_server.infra.commit import Answer, Recorded, RequestIdentity
from hashseal_server.infra.crash import passing
from hashseal_server.keystore.port import KeyStore, Signers
from hashseal_server.pki.foreign_store import digest_of
from hashseal_server.seals.model import Seal
from hashseal_server.signing.assembly import (
    ENCODER,
    describe,
    reassemble,
    render,
    signer_of,
)
from hashseal_server.signing.evidence import Evidence, EvidenceSource
from hashseal_server.signing.making import Maker, Making, Timestamps
from hashseal_server.signing.model import (
    Arrival,
    Call,
    Delivery,
    FollowUp,
    Found,
    KeptCall,
    MadeSignature,
    Record,
    ValidationSet,
    Wanted,
    Written,
)
from hashseal_server.tsa.token import MadeToken

_KEPT = 10_000
_FOLLOWED = 4
"""How often a call begins anew because its seal got another certificate."""


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
    async def history(self, account_id: AccountId, seal_id: str) -> list[Seal]: ...
    def signature_size(self, seal: Seal) -> int: ...


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call that may be made."""

    caller: Principal
    request: RequestIdentity
    wanted: Wanted


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
        self._seals = seals
        self._timestamps = timestamps
        self._maker = Maker(keystore, timestamps, signers)
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
            return await self._answer_again(caller.account_id, found.earlier.to(request))
        spend(found.balance, len(asked.hashes))
        passing("asked")
        level = read_level(asked.level)
        algorithm = digest_algorithm(asked.hash_algorithm)
        digests = [Digest(algorithm, value) for value in asked.hashes]
        wanted = Wanted(asked.seal_id, digests, level)
        return render(await self._sign(_Asked(caller, request, wanted), found))

    async def deliver(
        self, caller: Principal, wanted: Wanted, request: RequestIdentity, found: Found
    ) -> Delivery:
        """The same for other forms of asking and answering.

        Raises:
            InvalidRequest, Denied, NotFound, Unavailable: nothing charged, nothing released.
        """
        require_documents(caller)
        if found.earlier is not None:
            return await self._again(caller.account_id, found.earlier.to(request))
        spend(found.balance, len(wanted.digests))
        passing("asked")
        return await self._sign(_Asked(caller, request, wanted), found)

    async def _sign(self, asked: _Asked, found: Found) -> Delivery:
        account_id, seal_id = asked.caller.account_id, asked.wanted.seal_id
        seal = await self._usable(account_id, found, asked.wanted)
        for _ in range(_FOLLOWED):
            try:
                return await self._deliver(asked, seal)
            except (SealRevoked, KeystoreRefused, KeystoreUnavailable):
                # It may have got another certificate, and lost the one before, meanwhile.
                fresh = await self._seals.find(account_id, seal_id)
                if fresh.revoked or fresh.serial == seal.serial:
                    raise
                fresh.require_usable(asked.wanted.level, self._now(), proven=_proven(asked.wanted))
                seal = self._keep(fresh)
        return await self._deliver(asked, seal)

    async def _deliver(self, asked: _Asked, seal: Seal) -> Delivery:
        """Sign with the seal's certificate, commit, answer."""
        caller, wanted, level = asked.caller, asked.wanted, asked.wanted.level
        size, now = self._size_of(seal), self._now()
        call_id = secrets.token_hex(16)
        if _proven(wanted) and seal.imported is not None:
            # What its authority does not prove now is refused before a timestamp is paid for.
            await self._evidence_of(seal, [])
        if level.has_timestamp:
            await self._timestamps.ready()
        with self._step("sign"):
            made = await self._maker.make(
                Making(call_id, seal, wanted.digests, _time(wanted, now)),
                level,
                self._shown if _proven(wanted) else None,
            )
        if any(len(one.signed_data) > size for one in made) and not wanted.dated:
            raise FaultySignature("the signature is larger than the published size")
        with self._step("evidence"):
            validation = await self._validation_of(seal, wanted, made)
        content = validation.content if validation else None
        wanted.complete(made, content)
        passing("signed")
        own = (seal.serial,) if seal.imported is None else ()
        call = Call(
            id=call_id,
            account_id=caller.account_id,
            token_id=caller.actor,
            seal_id=seal.id,
            serials=(*own, *dict.fromkeys(_units_of(made))),
            imported=(seal.imported,) if seal.imported is not None else (),
            stamped=_others(made) if validation is not None else (),
            level=level.value,
            signatures=made,
            validation=validation,
            at=now,
            appearance_digest=seal.appearance_digest,
            alongside=wanted.alongside(call_id),
        )
        with self._step("record"):
            try:
                answer = await self._records.commit(asked.request, call)
            except (TimestampUnavailable, EvidenceUnavailable):
                units = [one.token.tsu_certificate for one in made if one.token]
                self._evidence.forget([seal.chain[0], *units])
                raise
        passing("answered")
        if isinstance(answer, Recorded) and answer.call_id == call_id:
            left = Balance(answer.free_left, answer.paid_left)
            return Delivery(call_id, seal.id, made, content, left, seal.appearance_digest)
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
        if (given := await self.answered(caller, request, found)) is not None:
            return given
        digest = Digest(digest_algorithm(asked.hash_algorithm), asked.hash)

        async def answer(token: MadeToken) -> tuple[bytes, ValidationSet]:
            validation = await self._evidence.complete([token.tsu_certificate])
            part: Any = msgspec.Raw(validation.content)
            answered = protocol.TimestampedDocument(describe(token), part)
            return ENCODER.encode(answered), validation

        return await self.follow_up(caller, asked.signature_id, digest, request, answer)

    async def answered(
        self, caller: Principal, request: RequestIdentity, found: Found
    ) -> bytes | None:
        """What this request was answered before; None when it is new.

        Raises:
            EntitlementMissing, IdempotencyKeyReused.
        """
        require_documents(caller)
        if found.earlier is None:
            return None
        return await self._answer_again(caller.account_id, found.earlier.to(request))

    async def follow_up(
        self,
        caller: Principal,
        signature_id: str,
        digest: Digest,
        request: RequestIdentity,
        answer: Callable[[MadeToken], Awaitable[tuple[bytes, ValidationSet | None]]],
        *,
        nonce: int | None = None,
        alongside: tuple[Written, ...] = (),
    ) -> bytes:
        """The same in another form: `answer` makes the octets that are kept and delivered.

        It says which validation material is in them, if any.
        `alongside` is written in the transaction that records it, and only if that happens.

        Raises:
            InvalidRequest, Denied, NotFound, Unavailable: nothing released.
        """
        await self._records.record(caller.account_id, signature_id)
        if await self._records.follow_up_taken(signature_id):
            # Maybe by this very request, since it was looked up; it has its answer then (I3).
            given = await self.answered(
                caller, request, await self.look_up(_arrival(caller, request))
            )
            if given is None:
                raise FollowUpUsed("the signature's document timestamp was taken")
            return given
        token = await self._timestamps.issue(digest, nonce=nonce, suitable=self._shown)
        octets, shown = await answer(token)
        if shown is None and token.parts is None:
            shown = await self._evidence.complete([token.tsu_certificate])
        made = FollowUp(
            caller.account_id,
            signature_id,
            str(token.content.serial),
            octets,
            self._now(),
            (token.parts.tsu,) if token.parts else (),
            alongside,
            () if token.parts else (digest_of(token.tsu_certificate),),
            shown.serials if shown else (),
            () if token.parts or shown is None else shown.certificates,
        )
        try:
            outcome = await self._records.commit_follow_up(request, made)
        except (TimestampUnavailable, EvidenceUnavailable):
            self._evidence.forget([token.tsu_certificate])
            raise
        return await self._answer_again(caller.account_id, outcome)

    async def validation(
        self, account_id: AccountId, asked: protocol.CollectValidation
    ) -> protocol.CollectedValidation:
        """Fresh validation material for certificates that signed before; free.

        Of other authorities' certificates the account's own are known, and units of the timestamp
        authorities that are configured.

        Raises:
            EvidenceUnavailable: fresh status data cannot be made now.
        """
        return await self._evidence.collect(account_id, asked.serials)

    async def _answer_again(self, account_id: AccountId, answer: Answer) -> bytes:
        """The octets of an answer that is recorded: the same ones (I3)."""
        if isinstance(answer, bytes):
            return answer
        return render(await self._again(account_id, answer))

    async def _again(self, account_id: AccountId, answer: Answer) -> Delivery:
        """A signing call that is recorded, as it was."""
        if isinstance(answer, bytes):
            raise Internal("the answer of a signing call is kept in another form")
        kept = await self._records.kept(account_id, answer)
        seal = await self._seals.find(account_id, kept.signatures[0].record.seal_id)
        units = {
            serial: (await self._evidence.find(serial)).chain[:-1]
            for serial in {one.tsu for one in kept.signatures if one.tsu is not None}
        }
        seals = [seal]
        if seal.imported is None and any(one.certificate != seal.serial for one in kept.signatures):
            seals = await self._seals.history(account_id, seal.id)
        made = tuple(
            reassemble(one, seals[0] if len(seals) == 1 else signer_of(one, seals), units)
            for one in kept.signatures
        )
        left = Balance(answer.free_left, answer.paid_left)
        shown = kept.signatures[0].appearance_digest
        return Delivery(answer.call_id, seal.id, made, kept.validation, left, shown)

    async def _usable(self, account_id: AccountId, found: Found, wanted: Wanted) -> Seal:
        """The seal; while its certificate is the same, all but its state is, so it is kept.

        What is missing for a level may have been confirmed meanwhile: that is looked at again.
        """
        seal_id, proven = wanted.seal_id, _proven(wanted)
        if found.seal_state is None:
            raise SealNotFound("this account has no seal with that id", field="seal_id")
        if found.seal_state == "revoked":
            raise SealRevoked("the seal's certificate has been revoked", field="seal_id")
        ready = self._ready.get((account_id, seal_id))
        if ready is None or found.seal_serial not in {None, ready[0].serial}:
            seal = self._keep(await self._seals.find(account_id, seal_id))
        else:
            seal = ready[0]
        if proven and not seal.provable:
            seal = self._keep(await self._seals.find(account_id, seal_id))
        seal.require_usable(wanted.level, self._now(), proven=proven)
        return seal

    def _size_of(self, seal: Seal) -> int:
        ready = self._ready.get((seal.account_id, seal.id))
        return ready[1] if ready and ready[0] is seal else self._seals.signature_size(seal)

    def _keep(self, seal: Seal) -> Seal:
        """Remember a seal and its published size."""
        if len(self._ready) >= _KEPT:
            self._ready.clear()
        self._ready[seal.account_id, seal.id] = seal, self._seals.signature_size(seal)
        return seal

    async def _validation_of(
        self, seal: Seal, wanted: Wanted, made: Sequence[MadeSignature]
    ) -> ValidationSet | None:
        if not _proven(wanted):
            return None
        # A call during which the unit changed has tokens of two.
        units = dict.fromkeys(one.token.tsu_certificate for one in made if one.token)
        return await self._evidence_of(seal, [*units])

    async def _shown(self, unit: bytes) -> None:
        """Make sure that the status of a timestamping unit can be shown in the answer.

        Raises:
            EvidenceUnavailable: it cannot.
        """
        await self._evidence.complete([unit])

    async def _evidence_of(self, seal: Seal, units: Sequence[bytes]) -> ValidationSet:
        """Complete material for the seal's certificate and these units' (DER).

        Raises:
            SealRevoked: it is revoked, or has another certificate, meanwhile.
            EvidenceUnavailable: fresh status data cannot be had now.
        """
        try:
            return await self._evidence.complete([seal.chain[0], *units])
        except EvidenceUnavailable:
            found = await self._seals.find(AccountId(seal.account_id), seal.id)
            if found.revoked or found.serial != seal.serial:  # meanwhile: say that
                raise SealRevoked(
                    "the seal's certificate has been revoked", field="seal_id"
                ) from None
            raise


def _arrival(caller: Principal, request: RequestIdentity) -> Arrival:
    """The request again, for what its key was answered meanwhile."""
    return Arrival(caller.token_id, request.key_hash, "")


def _proven(wanted: Wanted) -> bool:
    """Whether validation material goes with the signatures."""
    return wanted.level.has_validation or wanted.validation


def _time(wanted: Wanted, now: datetime) -> datetime | None:
    """What stands in the signature, in whole seconds, if anything does."""
    return now.replace(microsecond=0) if wanted.dated else None


def _units_of(made: Sequence[MadeSignature]) -> list[int]:
    """Serial numbers of our units that made tokens."""
    return [one.token.parts.tsu for one in made if one.token and one.token.parts]


def _others(made: Sequence[MadeSignature]) -> tuple[str, ...]:
    """Digests of other authorities' units that made tokens."""
    tokens = [one.token for one in made if one.token and not one.token.parts]
    return tuple(dict.fromkeys(digest_of(token.tsu_certificate) for token in tokens))


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
