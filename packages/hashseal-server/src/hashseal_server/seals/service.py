"""Create, show and revoke seals."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from cryptography import x509

from hashseal_core import cms, protocol
from hashseal_core.algorithms import KeyAlgorithm, Level, SignatureScheme
from hashseal_core.errors import InvalidValue
from hashseal_server.accounts.model import AccountId
from hashseal_server.pki.model import Issued, LegalPerson, NaturalPerson
from hashseal_server.seals.model import KINDS, Seal, SealId


class Store(Protocol):
    """What is kept; see `hashseal_server.seals.store`."""

    async def add(self, seal: Seal, at: datetime) -> None: ...
    async def find(self, account_id: AccountId, seal_id: str) -> Seal: ...
    async def all(self, account_id: AccountId) -> list[Seal]: ...


class Authority(Protocol):
    """Who issues and revokes; see `hashseal_server.pki.service`."""

    async def issue_signing(
        self, subject: LegalPerson | NaturalPerson, *, algorithm: KeyAlgorithm, account: str = ""
    ) -> Issued: ...
    async def revoke(self, serial: int, reason: str, *, at: datetime) -> None: ...


class Seals:
    """The seals of all accounts; `token_size` is the largest timestamp token in octets."""

    def __init__(
        self,
        *,
        store: Store,
        authority: Authority,
        token_size: Callable[[], int],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._authority = authority
        self._token_size = token_size
        self._now = now

    async def create(
        self,
        account_id: AccountId,
        subject: LegalPerson | NaturalPerson,
        *,
        kind: str,
        algorithm: KeyAlgorithm,
        pss: bool = False,
    ) -> Seal:
        """Issue a certificate for a new key and make a seal of it.

        Raises:
            InvalidValue: kind, subject or algorithm is not allowed.
            LintFailed, KeystoreUnavailable, StorageUnavailable: nothing was made.
        """
        if kind not in KINDS:
            raise InvalidValue(f"kind is one of {', '.join(sorted(KINDS))}", field="kind")
        if pss and not algorithm.is_rsa:
            raise InvalidValue("PSS goes with RSA keys only", field="pss")
        scheme = SignatureScheme.ECDSA
        if algorithm.is_rsa:
            scheme = SignatureScheme.RSA_PSS if pss else SignatureScheme.RSA_PKCS1
        issued = await self._authority.issue_signing(
            subject, algorithm=algorithm, account=account_id
        )
        name = x509.load_der_x509_certificate(issued.certificate).subject.rfc4514_string()
        seal = Seal(
            id=SealId(secrets.token_hex(8)),
            account_id=account_id,
            kind=kind,
            subject=name,
            key_algorithm=algorithm,
            scheme=scheme,
            key=issued.key,
            serial=issued.serial,
            chain=issued.chain,
            not_after=issued.not_after,
        )
        await self._store.add(seal, self._now())
        return seal

    async def find(self, account_id: AccountId, seal_id: str) -> Seal:
        """One seal of the account.

        Raises:
            SealNotFound: absent, or another account's.
        """
        return await self._store.find(account_id, seal_id)

    async def all(self, account_id: AccountId) -> list[Seal]:
        """The account's seals."""
        return await self._store.all(account_id)

    async def revoke(self, account_id: AccountId, seal_id: str, reason: str) -> None:
        """Revoke the seal's certificate for good.

        Raises:
            SealNotFound, InvalidValue, NotFound.
        """
        seal = await self._store.find(account_id, seal_id)
        await self._authority.revoke(seal.serial, reason, at=self._now())

    def signature_size(self, seal: Seal) -> int:
        """Octets of the largest CMS that is ever sent for the seal."""
        return cms.signature_size(
            certificates=seal.chain,
            key_algorithm=seal.key_algorithm,
            timestamp_token_size=self._token_size(),
        )

    def describe(self, seal: Seal) -> protocol.Seal:
        """As the API shows it."""
        return protocol.Seal(
            id=seal.id,
            kind=seal.kind,
            status=seal.status(self._now()),
            subject=seal.subject,
            algorithm=f"{seal.key_algorithm} {seal.scheme}",
            signature_size=self.signature_size(seal),
            valid_until=seal.not_after,
            certificates=list(seal.chain),
            levels=[level.value for level in Level],
        )
