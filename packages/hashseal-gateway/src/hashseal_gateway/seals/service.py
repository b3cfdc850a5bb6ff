"""Which seals a caller has, and which one is meant."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import msgspec

from hashseal_core import protocol
from hashseal_core.algorithms import Level
from hashseal_core.errors import InvalidValue, SealNotFound
from hashseal_gateway.seals.appearance import checked
from hashseal_gateway.seals.model import SealDefaults, SealOptions, choose, require_name

_TEXT = 200


class Store(Protocol):
    """Where names and defaults are."""

    async def all(self) -> dict[str, SealDefaults]: ...
    async def put(self, defaults: SealDefaults) -> None: ...


class Source(Protocol):
    """Who has the seals."""

    async def seals(self, *, newer: bool = False) -> list[protocol.Seal]: ...
    async def picture(self, seal_id: str, digest: str | None) -> bytes: ...


class Seals:
    """The account's seals as this company uses them."""

    def __init__(self, store: Store, source: Source, now: Callable[[], datetime]) -> None:
        self._store = store
        self._source = source
        self._now = now

    async def all(
        self, allowed: frozenset[str] | None, *, newer: bool = False
    ) -> list[tuple[protocol.Seal, SealDefaults | None]]:
        """The seals that somebody may use, in the service's order; `newer` than what is remembered.

        Raises:
            HashsealError: the service does not tell.
        """
        known = await self._store.all()
        return [
            (seal, known.get(seal.id))
            for seal in await self._source.seals(newer=newer)
            if allowed is None or seal.id in allowed
        ]

    async def names(self) -> dict[str, str]:
        """The company's names of seals, by SealID, whether the service answers or not.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        return {said.seal_id: said.name for said in (await self._store.all()).values() if said.name}

    async def resolve(
        self, allowed: frozenset[str] | None, asked: str | None
    ) -> tuple[protocol.Seal, SealOptions]:
        """The seal that is meant by a SealID, a local name, or nothing; and its defaults.

        One that is not known may have been made a moment ago: the service is asked again.

        Raises:
            SealNotFound: there is none, it is not clear which, or the caller may not use it.
            SealRevoked, SealExpired: it is no longer used.
            HashsealError: the service does not tell.
        """
        try:
            return _meant(await self.all(allowed), asked)
        except SealNotFound:
            return _meant(await self.all(allowed, newer=True), asked)

    async def picture_of(self, seal: protocol.Seal) -> str:
        """SHA-256 of the seal's picture, hexadecimal; one that was not drawn yet is drawn now.

        Raises:
            HashsealError: it has none, or the service does not tell.
        """
        if seal.appearance_digest is not None:
            return seal.appearance_digest
        return hashlib.sha256(await self._source.picture(seal.id, None)).hexdigest()

    async def set_defaults(
        self, seal_id: str, name: str | None, options: SealOptions, by: str
    ) -> SealDefaults:
        """Say something about a seal.

        Raises:
            SealNotFound: the account has no such seal.
            InvalidValue: a value cannot be taken, or the name is another seal's.
            HashsealError: the service does not tell.
        """
        seals = await self._source.seals(newer=True)
        if seal_id not in {seal.id for seal in seals}:
            raise SealNotFound("the account has no such seal", field="seal_id")
        if name is not None and require_name(name) in {seal.id for seal in seals}:
            raise InvalidValue("this is the id of a seal", field="name")
        if options.level is not None and options.level not in set(Level):
            raise InvalidValue("level is not one of B-B, B-T, B-LT, B-LTA", field="level")
        for field in ("reason", "location", "contact"):
            if len(getattr(options, field) or "") > _TEXT:
                raise InvalidValue(f"{field} has {_TEXT} characters at most", field=field)
        options = msgspec.structs.replace(options, appearance=checked(options.appearance))
        made = SealDefaults(seal_id, name, options, self._now(), by)
        await self._store.put(made)
        return made


def _meant(
    found: list[tuple[protocol.Seal, SealDefaults | None]], asked: str | None
) -> tuple[protocol.Seal, SealOptions]:
    named = {said.name: seal.id for seal, said in found if said is not None and said.name}
    wanted = None if asked is None else named.get(asked, asked)
    seal = choose((one for one, _ in found), wanted)
    said = next(said for one, said in found if one.id == seal.id)
    return seal, said.options if said is not None else SealOptions()
