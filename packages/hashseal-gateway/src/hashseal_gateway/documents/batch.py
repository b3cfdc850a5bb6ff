"""Batches: many documents in one request, each accepted and worked on by itself."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hashseal_core.errors import InvalidValue
from hashseal_gateway.documents import messages
from hashseal_gateway.documents.attempts import SOURCE
from hashseal_gateway.documents.model import Asked, Document, Received, Way
from hashseal_gateway.documents.options import DocumentOptions
from hashseal_gateway.documents.ports import Places
from hashseal_gateway.documents.service import Documents
from hashseal_gateway.users.model import Caller


class Unpacker(Protocol):
    """Takes archives apart, in a confined process."""

    async def unpacked(self, order: messages.Unpack) -> messages.Unpacked: ...


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Of one batch: how many documents, octets of each, octets of all."""

    documents: int
    each: int
    together: int


class Batches:
    """What may be done with batches."""

    def __init__(
        self,
        documents: Documents,
        unpacker: Unpacker,
        places: Places,
        limits: BatchLimits,
    ) -> None:
        self._documents = documents
        self._unpacker = unpacker
        self._places = places
        self._limits = limits

    async def unpacked(self, archive: Received, folder: Path) -> list[tuple[Received, str | None]]:
        """The documents of a zip, in its order.

        Raises:
            HashsealError: it cannot be taken apart within the limits.
        """
        inside = folder / "unpacked"
        inside.mkdir(mode=0o700)
        made = await self._unpacker.unpacked(
            messages.Unpack(
                source=str(archive.path),
                folder=str(inside),
                most_documents=self._limits.documents,
                most_octets=self._limits.together,
                most_each=self._limits.each,
            )
        )
        found: list[tuple[Received, str | None]] = []
        for number, name in enumerate(made.names):
            found.append((await asyncio.to_thread(_received, inside / str(number)), name))
        return found

    async def accept(
        self,
        caller: Caller,
        key: str,
        documents: Sequence[tuple[Received, str | None]],
        options: DocumentOptions,
    ) -> list[Document]:
        """Accept every document; the same request under the same key gives the same batch.

        A request that ends with an error may have been accepted in part; repeated under its key it
        goes on where it was.

        Raises:
            InvalidValue: an external id, which is of one document, was given for many.
            HashsealError: a document was not accepted.
        """
        if options.external_id is not None and len(documents) > 1:
            raise InvalidValue("an external_id is of one document", field="external_id")
        identity = self._documents.request_key(caller.id, f"{key} batch")[:24]
        accepted: list[Document] = []
        for number, (received, name) in enumerate(documents):
            asked = Asked(
                id=secrets.token_hex(12),
                caller=caller,
                way=Way.BATCH,
                options=options,
                request_key=self._documents.request_key(caller.id, f"{key} {number}"),
                batch_id=identity,
                position=number,
                name=name,
            )
            accepted.append(await self._documents.accept(asked, self._moved(asked.id, received)))
        return accepted

    def _moved(self, identity: str, received: Received) -> Received:
        """The file in the folder of its own document."""
        place = self._places.new_place(identity) / SOURCE
        received.path.replace(place)
        return Received(place, received.size, received.digest)


def _received(path: Path) -> Received:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Received(path, path.stat().st_size, digest)
