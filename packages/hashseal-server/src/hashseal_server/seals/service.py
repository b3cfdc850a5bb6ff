"""Create, show and revoke seals."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from cryptography import x509

from hashseal_core import cms, protocol
from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import (
    CharacterUndrawable,
    InvalidValue,
    NotFound,
    SealNotFound,
    SealRevoked,
)
from hashseal_server.accounts.model import AccountId
from hashseal_server.pki.model import Issued, LegalPerson, NaturalPerson, Role
from hashseal_server.pki.revocation import require_reason
from hashseal_server.seals import picture
from hashseal_server.seals.drawing import SealData
from hashseal_server.seals.model import Seal, SealId, require_kind, scheme_of


class Store(Protocol):
    """What is kept; see `hashseal_server.seals.store`."""

    async def add(self, seal: Seal, at: datetime, svg: bytes | None = None) -> None: ...
    async def keep_appearance(self, seal: Seal, svg: bytes, at: datetime) -> None: ...
    async def appearance(self, account_id: AccountId, seal_id: str) -> tuple[str, bytes] | None: ...
    async def find(self, account_id: AccountId, seal_id: str) -> Seal: ...
    async def all(self, account_id: AccountId) -> list[Seal]: ...
    async def renew(self, before: Seal, seal: Seal, at: datetime) -> bool: ...
    async def history(self, account_id: AccountId, seal_id: str) -> list[Seal]: ...
    async def ending(self, *, after: datetime, before: datetime) -> list[datetime]: ...


class Authority(Protocol):
    """Who issues and revokes; see `hashseal_server.pki.service`."""

    async def issue_signing(
        self, subject: LegalPerson | NaturalPerson, *, algorithm: KeyAlgorithm, account: str = ""
    ) -> Issued: ...
    async def issue_again(
        self, before: Issued, *, algorithm: KeyAlgorithm, account: str, same_key: bool
    ) -> Issued: ...
    async def find(self, serial: int) -> Issued: ...
    async def revoke(
        self, serial: int, reason: str, *, at: datetime, invalid_since: datetime | None = None
    ) -> None: ...


class ForeignCertificates(Protocol):
    """What is known of other authorities' certificates; see `hashseal_server.pki.foreign_store`."""

    async def revoke(self, digest: str, reason: str, at: datetime, *, by: str) -> bool: ...


class Seals:
    """The seals of all accounts; `token_size` is the largest timestamp token in octets."""

    def __init__(
        self,
        *,
        store: Store,
        authority: Authority,
        foreign: ForeignCertificates,
        token_size: Callable[[], int],
        now: Callable[[], datetime],
        fonts: Sequence[Path] = (),
    ) -> None:
        self._store = store
        self._authority = authority
        self._foreign = foreign
        self._token_size = token_size
        self._now = now
        self._fonts = tuple(str(path) for path in fonts)

    async def create(
        self,
        account_id: AccountId,
        subject: LegalPerson | NaturalPerson,
        *,
        kind: str,
        algorithm: KeyAlgorithm,
        pss: bool = False,
        address: str = "",
    ) -> Seal:
        """Draw the seal, issue a certificate for a new key and make a seal of both.

        `address` stands in the picture only.

        Raises:
            InvalidValue: kind, subject, address or algorithm is not allowed.
            CharacterUndrawable: no font has a character of name, number or address.
            LintFailed, KeystoreUnavailable, StorageUnavailable: nothing was made.
        """
        require_kind(kind)
        scheme = scheme_of(algorithm, pss=pss)
        svg = await self._draw(picture.data_of(subject.name(), kind, address))
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
            appearance_digest=hashlib.sha256(svg).hexdigest(),
        )
        await self._store.add(seal, self._now(), svg)
        return seal

    async def find(self, account_id: AccountId, seal_id: str) -> Seal:
        """One seal of the account; drawn now if it was made before seals had pictures.

        Raises:
            SealNotFound: absent, or another account's.
        """
        seal = await self._store.find(account_id, seal_id)
        if seal.appearance_digest is not None:
            return seal
        try:
            svg = await self._draw(picture.data_of_certificate(seal.chain[0], seal.kind))
        except CharacterUndrawable:
            return seal  # it signs all the same; who asks for its picture is told why
        await self._store.keep_appearance(seal, svg, self._now())
        return await self._store.find(account_id, seal_id)

    async def appearance(self, account_id: AccountId, seal_id: str) -> tuple[str, bytes]:
        """Digest (SHA-256, hexadecimal) and SVG of a seal's picture.

        Raises:
            SealNotFound: absent, or another account's.
            CharacterUndrawable: it cannot be drawn: no font has a character of its name.
        """
        seal = await self.find(account_id, seal_id)
        found = await self._store.appearance(account_id, seal_id)
        if found is None:
            await self._draw(picture.data_of_certificate(seal.chain[0], seal.kind))
            raise SealNotFound("this account has no seal with that id", field="seal_id")
        return found

    async def _draw(self, data: SealData) -> bytes:
        """The picture as SVG, drawn in a thread."""
        return await asyncio.to_thread(picture.svg, data, self._fonts)

    async def all(self, account_id: AccountId) -> list[Seal]:
        """The account's seals."""
        return await self._store.all(account_id)

    async def history(self, account_id: AccountId, seal_id: str) -> list[Seal]:
        """The seal with each certificate that it has had, oldest first, its own last.

        Raises:
            SealNotFound: absent, or another account's.
        """
        return await self._store.history(account_id, seal_id)

    async def renew(
        self, account_id: AccountId, seal_id: str, *, same_key: bool, revoke_before: bool = False
    ) -> Seal:
        """Give the seal a new certificate for the same subject, with its key or with a new one.

        The seal keeps its id, and what it signed stays as it is. The certificate of before lasts
        until its end, unless it is to be revoked as superseded; calls that are under way then sign
        again with the new one.

        Raises:
            SealNotFound: absent, or another account's.
            SealRevoked: revoked for good.
            InvalidValue: it got another certificate just now, or has one of another authority.
            LintFailed, KeystoreUnavailable, StorageUnavailable, FaultySignature: it stays as it is.
        """
        before = await self._store.find(account_id, seal_id)
        if before.revoked:
            raise SealRevoked("the seal is revoked for good; make a new one", field="seal_id")
        if before.imported is not None:
            raise InvalidValue(
                "its certificate is of another authority: ask there with `credential csr`, and "
                "import what comes as a seal of its own",
                field="seal_id",
            )
        issued = await self._authority.issue_again(
            await self._authority.find(before.serial),
            algorithm=before.key_algorithm,
            account=account_id,
            same_key=same_key,
        )
        seal = replace(
            before,
            key=issued.key,
            serial=issued.serial,
            chain=issued.chain,
            not_after=issued.not_after,
        )
        if not await self._store.renew(before, seal, self._now()):
            await self._authority.revoke(issued.serial, "superseded", at=self._now())
            raise InvalidValue("the seal got another certificate just now", field="seal_id")
        if revoke_before:
            await self._authority.revoke(before.serial, "superseded", at=self._now())
        return seal

    async def revoke(
        self,
        account_id: AccountId,
        seal_id: str,
        reason: str,
        *,
        invalid_since: datetime | None = None,
    ) -> Seal:
        """Stop a seal for good; its certificates are revoked, if they are ours to revoke.

        Earlier ones too as far as they are valid; when the key was lost (`keyCompromise`) those
        with another key stay. One that was imported signs no more (I11); revoking its certificate
        is up to its authority.

        Raises:
            SealNotFound, InvalidValue, NotFound.
        """
        at = self._now()
        while True:
            *earlier, seal = await self._store.history(account_id, seal_id)
            if seal.imported is not None:
                require_reason(reason, Role.SEAL)
                if not await self._foreign.revoke(seal.imported, reason, at, by="operator"):
                    raise NotFound("the seal is revoked already")
                return seal
            # The present one last: what fails before can be done again.
            for one in earlier:
                spared = reason == "keyCompromise" and one.key != seal.key
                if not (spared or one.revoked or one.not_after <= at):
                    since = invalid_since
                    if since is not None:
                        began = x509.load_der_x509_certificate(one.chain[0]).not_valid_before_utc
                        since = max(since, began)
                    await self._authority.revoke(one.serial, reason, at=at, invalid_since=since)
            await self._authority.revoke(seal.serial, reason, at=at, invalid_since=invalid_since)
            if (await self._store.find(account_id, seal_id)).serial == seal.serial:
                return seal  # else it got another certificate meanwhile

    async def ends(self) -> list[tuple[str, datetime]]:
        """When the seal that ends first does; nothing when none ends within a year."""
        now = self._now()
        found = await self._store.ending(after=now, before=now + timedelta(days=366))
        return [("seal-first", at) for at in found[:1]]

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
            valid_until=seal.ends_at,
            certificates=list(seal.chain),
            levels=[one.value for one in seal.levels],
            appearance_digest=seal.appearance_digest,
        )
