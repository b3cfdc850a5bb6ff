"""Names and defaults of seals, and which seal a request means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from hashseal_core import protocol
from hashseal_core.errors import HashsealError, InvalidValue, SealExpired, SealNotFound, SealRevoked
from hashseal_gateway.seals.appearance import Wanted

LOCAL_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_REFUSED: dict[str, type[HashsealError]] = {"revoked": SealRevoked, "expired": SealExpired}


class SealOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is taken for a seal when a request does not say otherwise.

    `appearance` is as in the options of a document: placement and style.
    """

    level: str | None = None
    reason: str | None = None
    location: str | None = None
    contact: str | None = None
    appearance: Wanted = None


@dataclass(frozen=True, slots=True)
class SealDefaults:
    """What the company says about a seal; `name` is its own, and may be used like a SealID."""

    seal_id: str
    name: str | None
    options: SealOptions
    changed_at: datetime
    changed_by: str


def require_name(name: str) -> str:
    """A local name.

    Raises:
        InvalidValue: it is none.
    """
    if not LOCAL_NAME.fullmatch(name):
        raise InvalidValue("a seal's name is 1 to 63 of a-z 0-9 -", field="name")
    return name


def choose(seals: Iterable[protocol.Seal], asked: str | None) -> protocol.Seal:
    """The seal of this id; without one the only one, or the smallest of one subject.

    Raises:
        SealNotFound: there is none, or it is not clear which.
        SealRevoked, SealExpired: it is no longer used.
    """
    known = list(seals)
    if asked is not None:
        found = next((seal for seal in known if seal.id == asked), None)
        if found is None:
            raise SealNotFound("there is no such seal for this caller", field="seal")
        if found.status in _REFUSED:
            raise _REFUSED[found.status](f"the seal is {found.status}", field="seal")
        return found
    active = [seal for seal in known if seal.status == "active"]
    if not active:
        raise SealNotFound("there is no active seal for this caller", field="seal")
    if len({seal.subject for seal in active}) > 1:
        raise SealNotFound("there are several seals: say which, see GET /v1/seals", field="seal")
    return min(active, key=lambda seal: (seal.signature_size, seal.id))
