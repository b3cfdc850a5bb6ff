"""Raw credentials: keys that sign any digest that their account sends.

There are none unless the operator allows them. They are kept apart from seals, so that
nothing that signs documents can ever pick one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cryptography import x509

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import ConfigurationInvalid
from hashseal_server.accounts.model import AccountId
from hashseal_server.pki.model import Issued, LegalPerson, NaturalPerson


@dataclass(frozen=True, slots=True)
class RawCredential:
    """A key with a certificate that says what it is; `chain` is DER, the root last."""

    id: str
    account_id: str
    subject: str
    key_algorithm: KeyAlgorithm
    key: str
    serial: int
    chain: tuple[bytes, ...]
    not_after: datetime
    revoked_at: datetime | None = None

    def status(self, at: datetime) -> str:
        """`active`, `revoked` or `expired`."""
        if self.revoked_at is not None:
            return "revoked"
        return "active" if at < self.not_after else "expired"


class Store(Protocol):
    """What is kept; see `hashseal_server.seals.raw_store`."""

    async def add(self, credential: RawCredential, at: datetime) -> None: ...
    async def find(self, account_id: AccountId, credential_id: str) -> RawCredential: ...
    async def all(self, account_id: AccountId) -> list[RawCredential]: ...


class Authority(Protocol):
    """Who issues; see `hashseal_server.pki.service`."""

    async def issue_signing(
        self,
        subject: LegalPerson | NaturalPerson,
        *,
        algorithm: KeyAlgorithm,
        account: str = "",
        raw: bool = False,
    ) -> Issued: ...


class RawCredentials:
    """The raw credentials of all accounts; with `enabled` False there are none."""

    def __init__(
        self, *, store: Store, authority: Authority, enabled: bool, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._authority = authority
        self._now = now
        self.enabled = enabled

    async def create(
        self, account_id: AccountId, subject: LegalPerson, *, algorithm: KeyAlgorithm
    ) -> RawCredential:
        """Issue a certificate of the raw kind for a new key.

        Raises:
            ConfigurationInvalid: the operator has not allowed raw signing.
            InvalidValue: subject or algorithm is not allowed.
            LintFailed, KeystoreUnavailable, FaultySignature, StorageUnavailable: nothing was made.
        """
        if not self.enabled:
            raise ConfigurationInvalid(
                "raw credentials sign whatever digest they are sent; set raw_signing = true to "
                "allow that",
                field="raw_signing",
            )
        issued = await self._authority.issue_signing(
            subject, algorithm=algorithm, account=account_id, raw=True
        )
        name = x509.load_der_x509_certificate(issued.certificate).subject.rfc4514_string()
        made = RawCredential(
            id=f"raw-{secrets.token_hex(8)}",
            account_id=account_id,
            subject=name,
            key_algorithm=algorithm,
            key=issued.key,
            serial=issued.serial,
            chain=issued.chain,
            not_after=issued.not_after,
        )
        await self._store.add(made, self._now())
        return made

    async def find(self, account_id: AccountId, credential_id: str) -> RawCredential:
        """One of the account's.

        Raises:
            SealNotFound: absent, or another account's.
        """
        return await self._store.find(account_id, credential_id)

    async def all(self, account_id: AccountId) -> list[RawCredential]:
        """The account's; none when raw signing is not allowed."""
        return await self._store.all(account_id) if self.enabled else []
