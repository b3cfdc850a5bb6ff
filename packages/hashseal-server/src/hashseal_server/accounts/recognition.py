"""Whether a secret is the one that is kept, still good, and used from where it may be."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from hashseal_core.errors import AddressNotAllowed
from hashseal_server.accounts.model import Principal
from hashseal_server.accounts.networks import Origin, allows
from hashseal_server.accounts.tokens import Keyring


class Kept(Struct, frozen=True):
    """What is kept of a secret.

    Attributes:
        keyed_hash: of the secret itself.
        earlier_hash: of the one before, which is good until `earlier_until`.
        expires_at: when it ends; None is never.
        networks: where it may be used, in CIDR notation with blanks between; None is everywhere.
    """

    keyed_hash: bytes
    earlier_hash: bytes | None = None
    earlier_until: datetime | None = None
    expires_at: datetime | None = None
    networks: str | None = None


class KeptToken(Struct, frozen=True):
    """A token that was not revoked, and whose it is."""

    kept: Kept
    owner: Principal


def matching(text: str, kept: Kept, keys: Keyring, at: datetime) -> bytes | None:
    """The hash that is this secret's and good now, of the two that may be kept; None: neither."""
    if kept.expires_at is not None and kept.expires_at <= at:
        return None
    if keys.matches(text, kept.keyed_hash):
        return kept.keyed_hash
    if kept.earlier_hash is None or kept.earlier_until is None or kept.earlier_until <= at:
        return None
    return kept.earlier_hash if keys.matches(text, kept.earlier_hash) else None


def require_origin(kept: Kept, origin: Origin) -> None:
    """Make sure that the secret may be used from there; only whoever has it should be told.

    Raises:
        AddressNotAllowed: it may not, or nobody knows from where it is used.
    """
    if kept.networks is not None and not allows(kept.networks, origin.address):
        raise AddressNotAllowed("this may not be used from the address that it was sent from")
