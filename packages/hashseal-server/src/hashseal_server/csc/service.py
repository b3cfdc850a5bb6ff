"""The CSC API's use cases: everything that signs, charges or records is done by the signing slice.

A credential is authorised by the caller's access token. The authorisation is for hashes, each
signed once (SCAL 2): `authorize` binds them, a signing call reserves them, and the transaction that
records the signatures consumes them. A call that fails for a reason that is known, before anything
could be recorded, gives them back; after any other they are used up.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from hashseal_core import cms, csc, protocol
from hashseal_core.algorithms import Level
from hashseal_core.errors import (
    Denied,
    EvidenceUnavailable,
    FollowUpUsed,
    InvalidRequest,
    InvalidValue,
    MethodNotImplemented,
    NotFound,
    Overloaded,
    SadRefused,
    SealExpired,
    SealNotFound,
    SealRevoked,
    StorageUnavailable,
    TimestampUnavailable,
)
from hashseal_core.evidence import ValidationMaterial
from hashseal_server.accounts.model import AccountId, Principal
from hashseal_server.accounts.quota import spend
from hashseal_server.csc import describing, reading
from hashseal_server.csc.algorithms import require_room
from hashseal_server.csc.describing import Credential, Service, Shown, of_raw, of_seal
from hashseal_server.csc.model import (
    SAD_LIFETIME,
    Authorised,
    Claim,
    Client,
    DocumentsAsked,
    Format,
    HashType,
    Holder,
    Reserved,
    Waiting,
    client_of,
    hash_of_sad,
)
from hashseal_server.infra.commit import RequestIdentity
from hashseal_server.seals.model import Seal
from hashseal_server.seals.raw import RawCredential
from hashseal_server.signing.model import (
    Alongside,
    Arrival,
    Delivery,
    Found,
    MadeSignature,
    Wanted,
    Written,
)
from hashseal_server.signing.raw import RawOrder, RawSigning
from hashseal_server.signing.service import SigningService, require_documents
from hashseal_server.tsa.token import MadeToken

_NOTHING_SIGNED = (
    InvalidRequest,
    Denied,
    NotFound,
    Overloaded,
    TimestampUnavailable,
    EvidenceUnavailable,
)
"""After these it is known that nothing was recorded, so that hashes may be tried again."""
_ANSWERS = msgspec.json.Encoder()
_NO_KEY = b""


class Authorisations(Protocol):
    """See `hashseal_server.csc.store`."""

    async def grant(
        self,
        holder: Holder,
        sad: bytes,
        wanted: Authorised,
        *,
        allowed: int,
        at: datetime,
        until: datetime,
    ) -> None: ...
    async def extend(
        self,
        holder: Holder,
        sad: tuple[bytes, bytes],
        wanted: Authorised,
        *,
        at: datetime,
        until: datetime,
    ) -> None: ...
    async def reserve(self, claim: Claim, at: datetime) -> Reserved: ...
    async def release(self, reservation: bytes) -> None: ...
    async def waiting(self, client: Client) -> list[Waiting]: ...
    async def served(self, waiting: Waiting) -> None: ...


class Seals(Protocol):
    """See `hashseal_server.seals.service`."""

    async def find(self, account_id: AccountId, seal_id: str) -> Seal: ...
    async def all(self, account_id: AccountId) -> list[Seal]: ...


class Raws(Protocol):
    """See `hashseal_server.seals.raw`."""

    @property
    def enabled(self) -> bool: ...
    async def find(self, account_id: AccountId, credential_id: str) -> RawCredential: ...
    async def all(self, account_id: AccountId) -> list[RawCredential]: ...


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks for a signature or timestamp: under which idempotency key, with which body."""

    caller: Principal
    key: str | None
    body: bytes

    def identity(self, operation: str) -> RequestIdentity:
        """The request; without a key it is like no other."""
        key = self.key or secrets.token_hex(32)
        return RequestIdentity(self.caller.account_id, key, f"csc/{operation}", self.body)


class RemoteSigning:
    """The API; `consume` says what makes the hashes of a reservation signed ones.

    `serve` says what notes that a signature has its document timestamp.
    """

    def __init__(
        self,
        *,
        service: Service,
        authorisations: Authorisations,
        consume: Callable[[Reserved, str, Client | None], Written],
        serve: Callable[[Waiting], Written],
        seals: Seals,
        raws: Raws,
        signing: SigningService,
        raw_signing: RawSigning,
        now: Callable[[], datetime],
        oauth2: Sequence[str] = (),
    ) -> None:
        self._service = service
        self._authorisations = authorisations
        self._consume = consume
        self._serve = serve
        self._seals = seals
        self._raws = raws
        self._signing = signing
        self._raw_signing = raw_signing
        self._now = now
        self._oauth2 = oauth2

    def info(self, version: str) -> csc.CscInfo:
        """What is offered; nobody has to say who they are."""
        return describing.info(self._service, version, self._oauth2)

    async def credentials(
        self, caller: Principal, asked: csc.CscListRequest, version: str
    ) -> csc.CscCredentials:
        """The account's credentials.

        Raises:
            InvalidValue: a parameter is wrong, or names another user.
        """
        if asked.userID not in {None, caller.account_id}:
            raise InvalidValue("Invalid parameter userID", field="userID")
        shown = _shown(asked, version)
        at, account = self._now(), caller.account_id
        every = [of_seal(one, at) for one in await self._seals.all(account)]
        every += [of_raw(one, at) for one in await self._raws.all(account)]
        only_valid = reading.flag(asked.onlyValid, "onlyValid")
        found = {one.id: one for one in every if one.status == "active" or not only_valid}
        page, following = reading.listed(
            sorted(found), asked.pageToken, reading.number(asked.maxResults, "maxResults")
        )
        infos = None
        if reading.flag(asked.credentialInfo, "credentialInfo"):
            infos = [describing.credential(found[one], shown, named=True) for one in page]
        return csc.CscCredentials(page, infos, True if only_valid else None, following)

    async def credential(
        self, caller: Principal, asked: csc.CscCredentialRequest, version: str
    ) -> csc.CscCredential:
        """One of the account's credentials.

        Raises:
            InvalidValue: a parameter is wrong.
            SealNotFound: absent, or another account's.
        """
        shown = _shown(asked, version)
        return describing.credential(await self._find(caller, asked.credentialID), shown)

    async def authorize(self, caller: Principal, asked: csc.CscAuthorizeRequest) -> csc.CscSad:
        """Authorise hashes: the SAD is shown this once.

        Raises:
            InvalidRequest, SealNotFound, SealRevoked, SealExpired: nothing was authorised.
            EntitlementMissing, QuotaExhausted: what was authorised could not be signed.
            RateLimited: too many hashes are authorised already.
        """
        reading.require_no_conflict(asked)
        found = _usable(await self._find(caller, asked.credentialID))
        wanted = reading.authorised(asked, found.hash_type)
        count = reading.number(asked.numSignatures, "numSignatures") or len(wanted.digests)
        if count > csc.MULTISIGN:
            raise InvalidValue("Numbers of signatures is too high", field="numSignatures")
        if count < len(wanted.digests):
            raise InvalidValue("Invalid value for parameter numSignatures", field="numSignatures")
        await self._require_calls(caller, len(wanted.digests))
        sad, now = secrets.token_urlsafe(32), self._now()
        await self._authorisations.grant(
            _holder(caller, found.id),
            hash_of_sad(sad),
            wanted,
            allowed=count,
            at=now,
            until=now + SAD_LIFETIME,
        )
        return _granted(sad)

    async def extend(self, caller: Principal, asked: csc.CscExtendRequest) -> csc.CscSad:
        """Authorise more hashes of a transaction, under a SAD that takes the place of the first.

        Raises:
            InvalidRequest, SealNotFound, SealRevoked, SealExpired, SadRefused: nothing changed.
            EntitlementMissing, QuotaExhausted, RateLimited: likewise; see `authorize`.
        """
        found = _usable(await self._find(caller, asked.credentialID))
        before = reading.text(asked.SAD, "SAD")
        wanted = reading.authorised(asked, found.hash_type)
        await self._require_calls(caller, len(wanted.digests))
        sad, now = secrets.token_urlsafe(32), self._now()
        await self._authorisations.extend(
            _holder(caller, found.id),
            (hash_of_sad(before), hash_of_sad(sad)),
            wanted,
            at=now,
            until=now + SAD_LIFETIME,
        )
        return _granted(sad)

    async def sign_documents(
        self, call: Call, asked: csc.CscSignDocRequest
    ) -> csc.CscSignedDocuments:
        """A detached SignedData for each hash.

        Raises:
            InvalidRequest, Denied, NotFound, Unavailable: nothing charged, nothing released.
        """
        wanted = reading.documents(asked)
        request = call.identity("signatures/signDoc")
        found = await self._look_up(call, request, wanted.credential_id)
        if found.earlier is None:
            seal = await self._seals.find(call.caller.account_id, wanted.credential_id)
            if wanted.algorithm.scheme is not seal.scheme or wanted.algorithm.salt is not None:
                raise InvalidValue(
                    "Invalid parameter signAlgo: not one of the credential's", field="signAlgo"
                )
        holder = _holder(call.caller, wanted.credential_id)
        authorised = Authorised(HashType.DOCUMENT, wanted.digests)

        def complete(made: Sequence[MadeSignature], validation: bytes | None) -> None:
            _documents(wanted, made, validation)

        async def sign(alongside: Alongside, found: Found) -> Delivery:
            order = Wanted(
                seal_id=wanted.credential_id,
                digests=wanted.digests,
                level=wanted.level,
                dated=wanted.format is Format.CADES,
                validation=wanted.validation,
                alongside=alongside,
                complete=complete,
            )
            return await self._signing.deliver(call.caller, order, request, found)

        claim = Claim(holder, hash_of_sad(wanted.sad), authorised, b"")
        stamped = holder.client if wanted.level is Level.B_LTA else None
        async with self._reserved(call, request, found, claim, stamped) as (alongside, known):
            delivery = await sign(alongside, known)
        return _documents(wanted, delivery.signatures, delivery.validation)

    async def sign_hashes(self, call: Call, asked: csc.CscSignHashRequest) -> csc.CscSignedHashes:
        """A signature value over each hash, with a raw credential.

        Raises:
            MethodNotImplemented: the operator has not allowed raw signing.
            InvalidRequest, Denied, NotFound, Unavailable: nothing charged, nothing released.
        """
        if not self._raws.enabled:
            raise MethodNotImplemented("signatures/signHash is not implemented: see info")
        wanted = reading.hashes(asked)
        request = call.identity("signatures/signHash")
        found = await self._look_up(call, request, wanted.credential_id)
        if found.earlier is None:
            raw = await self._raw(call.caller, wanted.credential_id)
            require_room(wanted.algorithm, raw.key_algorithm)
        holder = _holder(call.caller, wanted.credential_id)
        authorised = Authorised(HashType.DATA, wanted.digests)
        async with self._reserved(
            call, request, found, Claim(holder, hash_of_sad(wanted.sad), authorised, b"")
        ) as (alongside, known):
            order = RawOrder(wanted.credential_id, wanted.algorithm, wanted.digests, alongside)
            values = await self._raw_signing.sign(call.caller, order, request, known)
        return csc.CscSignedHashes(values)

    async def timestamp(self, call: Call, asked: csc.CscTimestampRequest) -> bytes:
        """The document timestamp of a signature at B-LTA that has none, oldest first; JSON octets.

        Raises:
            FollowUpUsed: this client has no such signature.
            InvalidRequest, Denied, Unavailable: nothing released.
        """
        digest, nonce = reading.timestamp(asked)
        request = call.identity("signatures/timestamp")
        found = await self._look_up(call, request, "")
        if (given := await self._signing.answered(call.caller, request, found)) is not None:
            return given
        client = client_of(call.caller)
        while waiting := await self._authorisations.waiting(client):
            for one in waiting:
                try:
                    return await self._signing.follow_up(
                        call.caller,
                        one.signature_id,
                        digest,
                        request,
                        _timestamped,
                        nonce=nonce,
                        alongside=(self._serve(one),),
                    )
                except FollowUpUsed:  # another call was faster, or the service's own API gave it
                    await self._authorisations.served(one)
        found = await self._look_up(call, request, "")
        if (given := await self._signing.answered(call.caller, request, found)) is not None:
            return given  # the same request took the last one just now
        raise FollowUpUsed("no signature of this client at Ades-B-LTA waits for its timestamp")

    @asynccontextmanager
    async def _reserved(
        self,
        call: Call,
        request: RequestIdentity,
        found: Found,
        claim: Claim,
        waits_for: Client | None = None,
    ) -> AsyncIterator[tuple[Alongside, Found]]:
        """The hashes are the call's alone in the block; what was answered before needs none.

        Under an idempotency key they stay so until they are signed: the same key may try again.
        """
        if found.earlier is not None:
            yield _nothing, found
            return
        mark = hashlib.sha256(request.account_id.encode() + b"\0" + request.key_hash).digest()
        claim = Claim(claim.holder, claim.sad, claim.authorised, mark)
        try:
            reserved = await self._authorisations.reserve(claim, self._now())
        except SadRefused:
            again = await self._look_up(call, request, claim.holder.credential_id)
            if again.earlier is None:
                raise
            yield _nothing, again  # the same request was answered just now
            return

        def alongside(call_id: str) -> tuple[Written, ...]:
            return (self._consume(reserved, call_id, waits_for),)

        try:
            yield alongside, found
        except _NOTHING_SIGNED:
            if call.key is None:
                with suppress(StorageUnavailable):  # then they are used up
                    await self._authorisations.release(mark)
            raise

    async def _require_calls(self, caller: Principal, calls: int) -> None:
        """Only what the account could have signed is authorised."""
        require_documents(caller)
        found = await self._signing.look_up(Arrival(caller.token_id, _NO_KEY, ""))
        spend(found.balance, calls)

    async def _look_up(self, call: Call, request: RequestIdentity, credential_id: str) -> Found:
        return await self._signing.look_up(
            Arrival(call.caller.token_id, request.key_hash, credential_id)
        )

    async def _find(self, caller: Principal, credential_id: str | None) -> Credential:
        """A seal or a raw credential.

        Raises:
            InvalidValue: no id.
            SealNotFound: absent, or another account's.
        """
        wanted = reading.text(credential_id, "credentialID")
        try:
            return of_seal(await self._seals.find(caller.account_id, wanted), self._now())
        except SealNotFound:
            return of_raw(await self._raw(caller, wanted), self._now())

    async def _raw(self, caller: Principal, credential_id: str) -> RawCredential:
        if not self._raws.enabled:
            raise SealNotFound("Invalid parameter credentialID", field="credentialID")
        return await self._raws.find(caller.account_id, credential_id)


def _nothing(_call_id: str) -> tuple[Written, ...]:
    return ()


async def _timestamped(token: MadeToken) -> tuple[bytes, None]:
    """The token alone."""
    return _ANSWERS.encode(csc.CscTimestamp(token.der)), None


def _documents(
    wanted: DocumentsAsked, made: Sequence[MadeSignature], validation: bytes | None
) -> csc.CscSignedDocuments:
    """The answer; at B-LT a CAdES signature has the validation material inside."""
    found: protocol.Validation | None = None
    if validation is not None:
        found = msgspec.json.decode(validation, type=protocol.Validation)
    objects = [one.signed_data for one in made]
    inside = wanted.format is Format.CADES and wanted.level.has_validation
    if inside and found is not None:
        material = ValidationMaterial(
            tuple(found.certificates), tuple(found.ocsp_responses), tuple(found.crls)
        )
        objects = [cms.with_material(one, material) for one in objects]
    if found is None or (inside and not wanted.validation):
        return csc.CscSignedDocuments(objects)
    shown = csc.CscValidationInfo(found.ocsp_responses, found.crls, found.certificates)
    return csc.CscSignedDocuments(objects, shown)


def _holder(caller: Principal, credential_id: str) -> Holder:
    return Holder(caller.account_id, client_of(caller), credential_id)


def _granted(sad: str) -> csc.CscSad:
    return csc.CscSad(sad, int(SAD_LIFETIME.total_seconds()))


def _usable(found: Credential) -> Credential:
    if found.status == "revoked":
        raise SealRevoked("the credential's certificate has been revoked", field="credentialID")
    if found.status == "expired":
        raise SealExpired("Signing certificate is expired", field="credentialID")
    return found


def _shown(asked: csc.CscListRequest | csc.CscCredentialRequest, version: str) -> Shown:
    return Shown(
        version,
        describing.read_certificates(asked.certificates),
        reading.flag(asked.certInfo, "certInfo"),
        reading.flag(asked.authInfo, "authInfo"),
    )
