"""When tokens were last used: noted in memory, written now and then, never in a call.

What a process has not written when it dies is lost, which makes a token look unused for some
minutes more than it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from hashseal_server.accounts.model import TokenId

COARSE = timedelta(minutes=5)
"""A later use is written after so long at the soonest, whatever the number of replicas."""


@dataclass(frozen=True, slots=True)
class Notes:
    """What is to be written.

    Attributes:
        uses: when each token was last used.
        hashes: what is kept of a token, made with an older key, and what is to stand in its place.
    """

    uses: Mapping[TokenId, datetime]
    hashes: Mapping[TokenId, tuple[bytes, bytes]]


class LastUse:
    """What one process knows and has not written yet."""

    def __init__(self) -> None:
        self._seen: dict[TokenId, datetime] = {}
        self._written: dict[TokenId, datetime] = {}
        self._hashes: dict[TokenId, tuple[bytes, bytes]] = {}

    def seen(self, token_id: TokenId, at: datetime) -> None:
        """A token was used."""
        self._seen[token_id] = at

    def outdated(self, token_id: TokenId, kept: bytes, renewed: bytes) -> None:
        """The hash that is kept of a token was made with an older key; it can be `renewed`."""
        self._hashes[token_id] = (kept, renewed)

    def due(self, now: datetime) -> Notes:
        """What is to be written now."""
        self._written = {one: at for one, at in self._written.items() if now - at < COARSE}
        uses = {one: at for one, at in self._seen.items() if one not in self._written}
        return Notes(uses, dict(self._hashes))

    def written(self, notes: Notes, now: datetime) -> None:
        """That is in the database."""
        for token_id, hashes in notes.hashes.items():
            if self._hashes.get(token_id) == hashes:
                del self._hashes[token_id]
        for token_id, at in notes.uses.items():
            self._written[token_id] = now
            if self._seen.get(token_id) == at:
                del self._seen[token_id]
