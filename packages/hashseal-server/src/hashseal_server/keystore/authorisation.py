"""Authorisations: without one, no key of a customer signs (I5).

The part of the service that knows an account's rights writes a grant and authenticates it with a
key that it shares with the signers. A signer takes a grant once: it names the signer's boot nonce,
so it is worth nothing elsewhere or after a restart, and its own nonce is remembered until it ends.
"""

from __future__ import annotations

import hashlib
import heapq
import hmac
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Annotated

import msgspec

from hashseal_core.algorithms import Digest, DigestAlgorithm, SignatureAlgorithm, SignatureScheme
from hashseal_core.errors import ConfigurationInvalid, KeystoreRefused, KeystoreUnavailable

MAX_DIGESTS = 1_000
SECRET_OCTETS = 32
NONCE_OCTETS = 32
LIFETIME = timedelta(seconds=30)
"""How long a grant is good."""
_LONGEST = timedelta(seconds=120)
"""A grant that claims more is refused: it would have to be remembered for as long."""
_REMEMBERED = 200_000
_LAST_SECOND = 253_402_300_799
"""Of the year 9999."""


class Kind(Enum):
    """What a grant allows; its MAC is over that too, so that none is taken for another.

    `DOCUMENTS` are signed through attributes that the signer builds, `DATED` ones with the time in
    them (CAdES); of `RAW` the digests themselves are signed, with keys that are made for that.
    """

    DOCUMENTS = b"hashseal authorisation 1\n"
    DATED = b"hashseal authorisation with signing time 1\n"
    RAW = b"hashseal raw authorisation 1\n"


Octets32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Name = Annotated[str, msgspec.Meta(max_length=6_000)]
Salt = Annotated[int, msgspec.Meta(ge=0, le=512)]
"""Octets; no key has room for more."""
HashValue = Annotated[bytes, msgspec.Meta(min_length=32, max_length=64)]
HashValues = Annotated[tuple[HashValue, ...], msgspec.Meta(min_length=1, max_length=MAX_DIGESTS)]


class Grant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What may be signed: these digests, once, with this key as this certificate.

    Attributes:
        boot: the boot nonce of the signer that may use it.
        nonce: never twice.
        expires_at: milliseconds since 1970.
        account: whose key it is.
        key: the key's reference.
        certificate: SHA-256 of the certificate, DER.
        salt: as in `SignatureAlgorithm`.
    """

    boot: Octets32
    nonce: Octets32
    expires_at: int
    account: Name
    key: Name
    certificate: Octets32
    scheme: SignatureScheme
    digest: DigestAlgorithm
    hashes: HashValues
    salt: Salt | None = None

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """Scheme, digest and salt.

        Raises:
            UnsupportedAlgorithm: a salt with another scheme than RSA-PSS.
        """
        return SignatureAlgorithm(self.scheme, self.digest, self.salt)

    def digests(self) -> list[Digest]:
        """The documents' digests.

        Raises:
            HashLength, DegenerateHash: as `Digest` does.
        """
        return [Digest(self.digest, value) for value in self.hashes]

    @property
    def signing_time(self) -> datetime | None:
        """What the attributes say of the time; nothing, in PDF."""
        return None


class DatedGrant(Grant, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The same with a time for the attributes; `signed_at` in seconds since 1970."""

    signed_at: Annotated[int, msgspec.Meta(ge=0, le=_LAST_SECOND)] = 0

    @property
    def signing_time(self) -> datetime | None:
        """What the attributes say of the time."""
        return datetime.fromtimestamp(self.signed_at, UTC)


class Authorisation(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A grant, encoded, with its HMAC-SHA256."""

    grant: Annotated[bytes, msgspec.Meta(max_length=100_000)]
    mac: Octets32


def _mac(secret: bytes, grant: bytes, kind: Kind) -> bytes:
    return hmac.digest(secret, kind.value + grant, hashlib.sha256)


def _require_secret(secret: bytes) -> bytes:
    if len(secret) < SECRET_OCTETS:
        raise ConfigurationInvalid(
            f"the authorisation key has {SECRET_OCTETS} octets at least",
            field="authorisation_key_file",
        )
    return secret


class Authoriser:
    """Writes authorisations; whoever holds `secret` can.

    Raises:
        ConfigurationInvalid: the secret is too short.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = _require_secret(secret)

    def authorise(
        self,
        *,
        boot: bytes,
        account: str,
        key: str,
        certificate: bytes,
        algorithm: SignatureAlgorithm,
        digests: Sequence[Digest],
        now: datetime,
        kind: Kind = Kind.DOCUMENTS,
        signing_time: datetime | None = None,
    ) -> Authorisation:
        """An authorisation for the signer with this boot nonce; `certificate` is DER.

        `signing_time` goes with `Kind.DATED`.
        """
        grant = Grant(
            boot=boot,
            nonce=secrets.token_bytes(NONCE_OCTETS),
            expires_at=_milliseconds(now + LIFETIME),
            account=account,
            key=key,
            certificate=hashlib.sha256(certificate).digest(),
            scheme=algorithm.scheme,
            digest=algorithm.digest,
            hashes=tuple(digest.value for digest in digests),
            salt=algorithm.salt,
        )
        if signing_time is not None:
            signed_at = int(signing_time.timestamp())
            grant = DatedGrant(**msgspec.structs.asdict(grant), signed_at=signed_at)
        encoded = msgspec.msgpack.encode(grant)
        return Authorisation(encoded, _mac(self._secret, encoded, kind))


class Register:
    """Where one signer process checks authorisations and remembers those it has taken.

    Raises:
        ConfigurationInvalid: the secret is too short.
    """

    def __init__(self, secret: bytes, boot: bytes, *, remembered: int = _REMEMBERED) -> None:
        self._secret = _require_secret(secret)
        self._boot = boot
        self._limit = remembered
        self._taken: set[bytes] = set()
        self._ends: list[tuple[int, bytes]] = []
        self._newest = 0

    def take(
        self,
        authorisation: Authorisation,
        certificate: bytes,
        now: datetime,
        kind: Kind = Kind.DOCUMENTS,
    ) -> Grant:
        """The grant, good from here on for nobody else. It is used up whatever comes of it.

        Raises:
            KeystoreRefused: forged, of another kind, for another signer or certificate, over, or
                taken before.
            KeystoreUnavailable: too many are remembered; nothing is forgotten before its time.
        """
        wanted = _mac(self._secret, authorisation.grant, kind)
        if not hmac.compare_digest(wanted, authorisation.mac):
            raise KeystoreRefused("the authorisation is not genuine")
        shape = DatedGrant if kind is Kind.DATED else Grant
        try:
            grant = msgspec.msgpack.decode(authorisation.grant, type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise KeystoreRefused("the authorisation is not of this version") from error
        moment = self._moment(now)
        if not hmac.compare_digest(grant.boot, self._boot):
            raise KeystoreRefused("the authorisation is for another signer")
        if not moment < grant.expires_at <= moment + _LONGEST // timedelta(milliseconds=1):
            raise KeystoreRefused("the authorisation is over, or good for too long")
        if grant.nonce in self._taken:
            raise KeystoreRefused("the authorisation was taken before")
        if len(self._taken) >= self._limit:
            raise KeystoreUnavailable("too many authorisations are under way")
        self._taken.add(grant.nonce)
        heapq.heappush(self._ends, (grant.expires_at, grant.nonce))
        if grant.certificate != hashlib.sha256(certificate).digest():
            raise KeystoreRefused("the authorisation is for another certificate")
        return grant

    def _moment(self, now: datetime) -> int:
        """The time in milliseconds, and forget what is over.

        It never goes back: a clock that is set back must not make an old grant good again.
        """
        self._newest = max(self._newest, _milliseconds(now))
        while self._ends and self._ends[0][0] <= self._newest:
            self._taken.discard(heapq.heappop(self._ends)[1])
        return self._newest


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
