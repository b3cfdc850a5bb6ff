"""Sign digests themselves, with raw credentials; charged and recorded as every other call (I2, I6).

What comes out verifies over bytes that the caller chose. So it is made with keys that are made for
that, under an authorisation of its own kind, and their certificates say so.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hashseal_core.algorithms import Digest, SignatureAlgorithm
from hashseal_core.errors import (
    Internal,
    InvalidValue,
    KeystoreRefused,
    SealExpired,
    SealRevoked,
    UnsupportedAlgorithm,
)
from hashseal_server.accounts.model import AccountId, Principal
from hashseal_server.accounts.quota import spend
from hashseal_server.infra.commit import Answer, Recorded, RequestIdentity
from hashseal_server.infra.crash import passing
from hashseal_server.keystore import verified
from hashseal_server.keystore.port import DigestKeys, DocumentOrder, Signers
from hashseal_server.seals.raw import RawCredential
from hashseal_server.signing.model import RAW, Alongside, Call, Found, KeptCall, MadeSignature
from hashseal_server.signing.service import require_documents


class Records(Protocol):
    """See `hashseal_server.signing.store`."""

    async def commit(self, request: RequestIdentity, call: Call) -> Answer: ...
    async def kept(self, account_id: AccountId, recorded: Recorded) -> KeptCall: ...


class Credentials(Protocol):
    """See `hashseal_server.seals.raw`."""

    async def find(self, account_id: AccountId, credential_id: str) -> RawCredential: ...


@dataclass(frozen=True, slots=True)
class RawOrder:
    """Digests to sign, all or none; `alongside` as in `Wanted`."""

    credential_id: str
    algorithm: SignatureAlgorithm
    digests: Sequence[Digest]
    alongside: Alongside


class RawSigning:
    """The sign-a-digest use case; keys are behind `signers`, or at hand in `keys`."""

    def __init__(
        self,
        *,
        records: Records,
        credentials: Credentials,
        keys: DigestKeys | None,
        signers: Signers | None,
        now: Callable[[], datetime],
    ) -> None:
        self._records = records
        self._credentials = credentials
        self._keys = keys
        self._signers = signers
        self._now = now

    async def sign(
        self, caller: Principal, order: RawOrder, request: RequestIdentity, found: Found
    ) -> list[bytes]:
        """The signature value over each digest, in order.

        Raises:
            InvalidRequest, Denied, NotFound, Unavailable: nothing charged, nothing released.
        """
        require_documents(caller)
        if found.earlier is not None:
            return await self._again(caller.account_id, found.earlier.to(request))
        spend(found.balance, len(order.digests))
        passing("asked")
        credential = await self._usable(caller.account_id, order)
        values = await self._values(credential, order)
        passing("signed")
        call_id = secrets.token_hex(16)
        call = Call(
            id=call_id,
            account_id=caller.account_id,
            token_id=caller.actor,
            seal_id=credential.id,
            serials=(credential.serial,),
            level=RAW,
            signatures=tuple(
                MadeSignature(f"{call_id}-{index}", digest, value, None, b"")
                for index, (digest, value) in enumerate(zip(order.digests, values, strict=True))
            ),
            validation=None,
            at=self._now(),
            alongside=order.alongside(call_id),
        )
        answer = await self._records.commit(request, call)
        passing("answered")
        if isinstance(answer, Recorded) and answer.call_id == call_id:
            return values
        return await self._again(caller.account_id, answer)

    async def _usable(self, account_id: AccountId, order: RawOrder) -> RawCredential:
        credential = await self._credentials.find(account_id, order.credential_id)
        status = credential.status(self._now())
        if status == "revoked":
            raise SealRevoked("the credential's certificate has been revoked", field="credentialID")
        if status == "expired":
            raise SealExpired("the credential's certificate has expired", field="credentialID")
        return credential

    async def _values(self, credential: RawCredential, order: RawOrder) -> list[bytes]:
        asked = DocumentOrder(
            account=credential.account_id,
            key=credential.key,
            certificate=credential.chain[0],
            algorithm=order.algorithm,
            digests=order.digests,
        )
        try:
            if self._signers is not None:
                return await verified.sign_digests(self._signers, asked)
            if self._keys is None:
                raise KeystoreRefused("no key store here signs digests")
            return await asyncio.to_thread(verified.sign_digests_here, self._keys, asked)
        except UnsupportedAlgorithm as error:
            raise InvalidValue(error.detail, field="signAlgo") from error

    async def _again(self, account_id: AccountId, answer: Answer) -> list[bytes]:
        if isinstance(answer, bytes):
            raise Internal("the answer of a signing call is kept in another form")
        kept = await self._records.kept(account_id, answer)
        return [one.signature_value for one in kept.signatures]
