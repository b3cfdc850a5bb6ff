"""A cache that holds so many octets at most: what was used longest ago goes first."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class _Held(Generic[_Value]):
    value: _Value
    parts: frozenset[bytes]


class Bounded(Generic[_Key, _Value]):
    """Values by key; the octet strings they consist of are counted, equal ones once.

    A value that alone has more than `octets` is held by itself.
    """

    def __init__(self, octets: int) -> None:
        self._limit = octets
        self._held: dict[_Key, _Held[_Value]] = {}
        self._parts: dict[bytes, tuple[bytes, int]] = {}
        self.octets = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: _Key) -> _Value | None:
        """The value, which has been used by that; None if it is not held."""
        found = self._held.pop(key, None)
        if found is None:
            return None
        self._held[key] = found
        return found.value

    def shared(self, part: bytes) -> bytes:
        """The equal octet string that is held already, or this one."""
        return self._parts.get(part, (part, 0))[0]

    def put(self, key: _Key, value: _Value, parts: Sequence[bytes]) -> None:
        """Hold a value; `parts` are the octet strings in it."""
        self.drop(key)
        held = _Held(value, frozenset(parts))
        self._held[key] = held
        for part in held.parts:
            first, holders = self._parts.get(part, (part, 0))
            self._parts[part] = first, holders + 1
            self.octets += 0 if holders else len(part)
        while self.octets > self._limit and len(self._held) > 1:
            self.drop(next(iter(self._held)))

    def drop(self, key: _Key) -> None:
        """Hold it no more."""
        if (held := self._held.pop(key, None)) is None:
            return
        for part in held.parts:
            first, holders = self._parts.pop(part)
            if holders > 1:
                self._parts[part] = first, holders - 1
            else:
                self.octets -= len(part)

    def clear(self) -> None:
        """Hold nothing."""
        self._held.clear()
        self._parts.clear()
        self.octets = 0
