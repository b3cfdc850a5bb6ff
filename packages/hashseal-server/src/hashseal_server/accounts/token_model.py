"""What is known of tokens and of OAuth2 clients, without their secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from hashseal_core.errors import InvalidValue, NotFound
from hashseal_server.accounts.model import READ, SCOPES, SIGN, AccountId, ClientId, TokenId
from hashseal_server.accounts.networks import read_networks
from hashseal_server.accounts.recognition import Kept

LIFETIME = timedelta(days=365)
"""Of a token, unless somebody says otherwise."""
OVERLAP = timedelta(hours=24)
"""For so long the secret of before is good, unless somebody says otherwise."""
LONGEST_OVERLAP = timedelta(days=30)
MOST = 500
"""Tokens, and clients, that an account may have at once."""
MAX_LABEL = 200
_ID = re.compile(r"[0-9a-f]{16}")


class Kind(StrEnum):
    """The one token of an account itself, those of people and programs, and those of clients."""

    ORGANISATION = "organisation"
    PERSONAL = "personal"
    ACCESS = "access"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a token or a client may do, for whom and from where.

    Attributes:
        label: what it is for; shown, never evaluated.
        holder: the person or program it belongs to; shown, never evaluated.
        scopes: what it may do.
        networks: from where, in CIDR notation; none is from everywhere.
        lifetime: of the token from now on; None is for ever. Clients have none.
    """

    label: str | None = None
    holder: str | None = None
    scopes: frozenset[str] = frozenset({SIGN, READ})
    networks: tuple[str, ...] = ()
    lifetime: timedelta | None = LIFETIME


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token; `earlier_until` says how long the secret before the last rotation is good."""

    id: TokenId
    account_id: AccountId
    kind: Kind
    label: str | None
    holder: str | None
    scopes: frozenset[str]
    networks: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    rotated_at: datetime | None = None
    earlier_until: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None

    def rotated(self, at: datetime, earlier_until: datetime | None) -> ApiToken:
        """With another secret from then on; it ends after as long as it was given last."""
        given = None
        if self.expires_at is not None:
            given = at + (self.expires_at - (self.rotated_at or self.created_at))
        return replace(self, rotated_at=at, earlier_until=earlier_until, expires_at=given)

    def state(self, at: datetime) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= at:
            return "expired"
        return "active"


@dataclass(frozen=True, slots=True)
class Client:
    """An OAuth2 client of an account."""

    id: ClientId
    account_id: AccountId
    label: str | None
    scopes: frozenset[str]
    networks: tuple[str, ...]
    created_at: datetime
    rotated_at: datetime | None = None
    earlier_until: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None

    def rotated(self, at: datetime, earlier_until: datetime | None) -> Client:
        """With another secret from then on."""
        return replace(self, rotated_at=at, earlier_until=earlier_until)


@dataclass(frozen=True, slots=True)
class KeptClient:
    """A client that was not revoked, with what is kept of its secret."""

    client: Client
    kept: Kept


@dataclass(frozen=True, slots=True)
class ShownSecret:
    """The hash that is kept of a secret that was shown; `renewed` is it under the newest key."""

    kept: bytes
    renewed: bytes | None


def read_terms(
    *,
    label: str | None = None,
    holder: str | None = None,
    scopes: Iterable[str] = (SIGN, READ),
    networks: Iterable[str] = (),
    lifetime: timedelta | None = LIFETIME,
) -> Terms:
    """Terms as somebody wrote them, checked.

    Raises:
        InvalidValue: a name that cannot be shown, no scope or one that is none, a network that is
            none, a lifetime that is over.
    """
    for field, text in (("label", label), ("holder", holder)):
        if text is not None and not (
            text.strip() and text.isprintable() and len(text) <= MAX_LABEL
        ):
            raise InvalidValue(f"a {field} has 1 to {MAX_LABEL} printable characters", field=field)
    wanted = frozenset(scopes)
    if not wanted or not wanted <= SCOPES:
        known = ", ".join(sorted(SCOPES))
        raise InvalidValue(f"scopes are one or more of {known}", field="scopes")
    if lifetime is not None and lifetime <= timedelta():
        raise InvalidValue("a token ends later than now", field="expires")
    return Terms(label, holder, wanted, read_networks(networks), lifetime)


def require_id(text: str, what: str) -> None:
    """Spare the database what cannot be an id of a token or a client.

    Raises:
        NotFound: as for an id that nobody has.
    """
    if not _ID.fullmatch(text):
        raise NotFound(f"no {what} with that id")


def read_overlap(overlap: timedelta) -> timedelta:
    """How long the secret of before stays good.

    Raises:
        InvalidValue: less than nothing, or more than 30 days.
    """
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise InvalidValue("the secret of before is good for 0 to 720 hours", field="overlap_hours")
    return overlap
