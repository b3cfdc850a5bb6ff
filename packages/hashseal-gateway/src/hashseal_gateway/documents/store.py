"""Documents in the database; what a transition and its log entry say is one transaction."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from hashseal_core.errors import DocumentNotFound, PdfNotPrepared
from hashseal_gateway.documents.model import (
    KEPT,
    PENDING,
    TRANSITIONS,
    Document,
    Event,
    Problem,
    State,
    Way,
    sources,
)
from hashseal_gateway.documents.options import SigningOptions
from hashseal_gateway.documents.tables import document_of, documents, encoded, values_of
from hashseal_gateway.infra.db import Database
from hashseal_gateway.log import store as log
from hashseal_gateway.log.model import Entry


class DocumentStore:
    """Documents by id and by request key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, document: Document, password: bytes | None) -> Document:
        """Record a new document; or the one that the same request key made before.

        Raises:
            StorageUnavailable: it was not recorded.
        """
        values = {**values_of(document), "password": password}
        async with self._database.write() as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            statement = dialect.insert(documents).values(**values)
            await connection.execute(
                statement.on_conflict_do_nothing(index_elements=[documents.c.request_key])
            )
            found = await connection.execute(
                select(documents).where(documents.c.request_key == document.request_key)
            )
            return document_of(found.mappings().one())

    async def find(self, identity: str, caller_id: str | None = None) -> Document:
        """A document; of this caller, if one is named.

        Raises:
            DocumentNotFound: there is none.
        """
        wanted = [documents.c.id == identity]
        if caller_id is not None:
            wanted.append(documents.c.caller_id == caller_id)
        async with self._database.read() as connection:
            found = await connection.execute(select(documents).where(*wanted))
            row = found.mappings().first()
        if row is None:
            raise DocumentNotFound("there is no such document of this caller")
        return document_of(row)

    async def of_batch(self, identity: str, caller_id: str | None = None) -> list[Document]:
        """The documents of a batch, in order.

        Raises:
            DocumentNotFound: there is no such batch.
        """
        wanted = [documents.c.batch_id == identity]
        if caller_id is not None:
            wanted.append(documents.c.caller_id == caller_id)
        async with self._database.read() as connection:
            found = await connection.execute(
                select(documents).where(*wanted).order_by(documents.c.position)
            )
            rows = found.mappings().all()
        if not rows:
            raise DocumentNotFound("there is no such batch of this caller")
        return [document_of(row) for row in rows]

    async def password(self, identity: str) -> bytes | None:
        """The file's password, sealed.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        async with self._database.read() as connection:
            statement = select(documents.c.password).where(documents.c.id == identity)
            found: bytes | None = await connection.scalar(statement)
        return None if found is None else bytes(found)

    async def settle(self, identity: str, seal_id: str, order: SigningOptions) -> None:
        """The seal and what goes into the signature, once and for all.

        Raises:
            StorageUnavailable: it was not recorded.
        """
        open_ = (documents.c.id == identity, documents.c.seal_id.is_(None))
        async with self._database.write() as connection:
            await connection.execute(
                update(documents)
                .where(*open_)
                .values(seal_id=seal_id, signing_order=encoded(order))
            )

    async def record_prepared(
        self, identity: str, prepared: str, value: str, findings: tuple[str, ...]
    ) -> None:
        """The prepared value, before the call that is about it.

        Raises:
            PdfNotPrepared: the same document was prepared otherwise before: its call may have been
                made, and this one must not be.
        """
        same = documents.c.hash.is_(None) | (documents.c.hash == value)
        async with self._database.write() as connection:
            done = await connection.execute(
                update(documents)
                .where(documents.c.id == identity, same)
                .values(prepared=prepared, hash=value, findings=json.dumps(findings))
            )
        if done.rowcount == 0:
            raise PdfNotPrepared("this document was prepared otherwise before; use a new key")

    async def happened(
        self, document: Document, event: Event, entry: Entry | None, **values: Any
    ) -> bool:
        """A transition with its entry in the log; False when it cannot happen any more.

        Raises:
            StorageUnavailable: neither was recorded.
        """
        reached: dict[State, list[State]] = {}
        for state in sources(event):
            reached.setdefault(TRANSITIONS[state, event], []).append(state)
        moved = False
        async with self._database.write() as connection:
            for target, origins in reached.items():
                here = documents.c.id == document.id, documents.c.state.in_(origins)
                done = await connection.execute(
                    update(documents).where(*here).values(state=target, **values)
                )
                if done.rowcount:
                    moved = True
                    break
            if moved and entry is not None:
                await log.add(connection, entry)
        return moved

    async def note(self, identity: str, problem: Problem | None) -> None:
        """Why a document waits.

        Raises:
            StorageUnavailable: it was not recorded.
        """
        values = {
            "problem_code": problem.code if problem else None,
            "problem_detail": problem.detail if problem else None,
        }
        async with self._database.write() as connection:
            await connection.execute(
                update(documents).where(documents.c.id == identity).values(**values)
            )

    async def pending(self) -> list[Document]:
        """Documents that were accepted and are not at their end.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        return await self._all(documents.c.state.in_(PENDING))

    async def longest_waiting(self, limit: int, caller_id: str | None) -> list[Document]:
        """The oldest documents that are not at their end, of one caller or of all.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        mine = [documents.c.caller_id == caller_id] if caller_id else []
        return await self._all(documents.c.state.in_(PENDING), *mine, limit=limit)

    async def with_files(self) -> list[Document]:
        """Documents of which there is a file.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        return await self._all(documents.c.state.in_(KEPT))

    async def expired(self, now: datetime, limit: int) -> list[Document]:
        """Signed documents that are kept no longer.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        kept = documents.c.state.in_([State.SIGNED, State.DELIVERED])
        return await self._all(kept, documents.c.expires_at < now, limit=limit)

    async def forget(self, before: datetime, limit: int) -> int:
        """Remove what is remembered of documents that came before; how many.

        Raises:
            StorageUnavailable: none was removed.
        """
        table = documents.c
        old = (
            select(table.id).where(table.created_at < before, table.state.not_in(KEPT)).limit(limit)
        )
        async with self._database.write() as connection:
            done = await connection.execute(delete(documents).where(table.id.in_(old)))
        return done.rowcount

    async def counts(self, caller_id: str | None = None) -> dict[str, int]:
        """How many asynchronous documents are in each state, of one caller or of all.

        Raises:
            StorageUnavailable: nobody can tell.
        """
        mine = [documents.c.caller_id == caller_id] if caller_id else []
        statement = (
            select(documents.c.state, func.count())
            .where(documents.c.way.in_([Way.ASYNC, Way.BATCH]), *mine)
            .group_by(documents.c.state)
        )
        async with self._database.read() as connection:
            found = await connection.execute(statement)
            return {str(row[0]): int(row[1]) for row in found}

    async def _all(self, *wanted: Any, limit: int | None = None) -> list[Document]:
        statement = select(documents).where(*wanted).order_by(documents.c.created_at).limit(limit)
        async with self._database.read() as connection:
            found = await connection.execute(statement)
            return [document_of(row) for row in found.mappings()]
