"""Pre-produced OCSP responses as rows, each read together with the state it was made for (I11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import LargeBinary, Row, and_, bindparam, delete, literal, select, text

from hashseal_server.infra.db import Database, UtcDateTime, padded
from hashseal_server.pki.model import Role
from hashseal_server.pki.revocation import Revoked
from hashseal_server.pki.status import Status
from hashseal_server.pki.store import certificates, key_of, ocsp_responses

_UNASKED = (Role.ROOT.value, Role.RESPONDER.value)
"""Nobody asks for a trust anchor, and responders carry id-pkix-ocsp-nocheck."""
_responders = certificates.alias("speaker")
_KEEP = text("""
    INSERT INTO ocsp_response
        (serial, hash_algorithm, responder, state, der, produced_at, next_update)
    VALUES (:serial, :hash_algorithm, :responder, :state, :der, :produced_at, :next_update)
    ON CONFLICT (serial, hash_algorithm) DO UPDATE SET
        responder = excluded.responder, state = excluded.state, der = excluded.der,
        produced_at = excluded.produced_at, next_update = excluded.next_update
""").bindparams(
    bindparam("der", type_=LargeBinary),
    bindparam("produced_at", type_=UtcDateTime),
    bindparam("next_update", type_=UtcDateTime),
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a serial number at one instant, and the response made for that state.

    `responder` is the serial number of the newest valid responder of the authority.
    """

    status: Status
    response: bytes | None = None
    next_update: datetime | None = None
    responder: int | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """A certificate whose usual response is missing or goes stale; `issuer` is a label."""

    serial: int
    issuer: str
    status: Status


@dataclass(frozen=True, slots=True)
class Produced:
    """A response that was just signed; `responder` is the label of the authority it speaks for."""

    serial: int
    hash_algorithm: str
    responder: str
    status: Status
    der: bytes
    produced_at: datetime
    next_update: datetime


class ResponseStore:
    """Rows in, values out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, serial: int, issuer: str, hash_algorithm: str, now: datetime) -> Kept:
        """State, response and responder by one statement, so that they are of one instant."""
        speaks = (
            select(_responders.c.serial)
            .where(
                _responders.c.role == Role.RESPONDER.value,
                _responders.c.issuer == issuer,
                _responders.c.state == "issued",
                _responders.c.not_after > now,
            )
            .order_by(_responders.c.planned_at.desc(), _responders.c.serial.desc())
            .limit(1)
            .scalar_subquery()
        )
        asked = select(literal(1).label("one")).subquery()
        statement = select(
            certificates,
            ocsp_responses.c.der.label("response"),
            ocsp_responses.c.next_update,
            speaks.label("responder"),
        ).select_from(
            asked.outerjoin(
                certificates,
                and_(
                    certificates.c.serial == key_of(serial),
                    certificates.c.issuer == issuer,
                    certificates.c.der.is_not(None),
                ),
            ).outerjoin(
                ocsp_responses,
                and_(
                    ocsp_responses.c.serial == certificates.c.serial,
                    ocsp_responses.c.hash_algorithm == hash_algorithm,
                    ocsp_responses.c.responder == issuer,
                    ocsp_responses.c.state == certificates.c.state,
                ),
            )
        )
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).one()
        responder = int(row.responder, 16) if row.responder else None
        if row.serial is None:
            return Kept(Status(issued=False), responder=responder)
        return Kept(_status(row), row.response, row.next_update, responder)

    async def keep(self, produced: Sequence[Produced]) -> frozenset[int]:
        """Keep the responses whose certificates are still in the state they were made for.

        The certificates are locked against a change of state until this is committed. Returns the
        serial numbers of what was kept; the rest must not leave.
        """
        standing = (
            select(certificates.c.serial, certificates.c.state)
            .where(certificates.c.serial.in_(padded(key_of(one.serial) for one in produced)))
            .order_by(certificates.c.serial)
            .with_for_update(read=True)
        )
        async with self._database.write() as connection:
            states = {row.serial: row.state for row in await connection.execute(standing)}
            kept = [one for one in produced if states.get(key_of(one.serial)) == _state(one.status)]
            if kept:
                await connection.execute(_KEEP, [_values(one) for one in kept])
        return frozenset(one.serial for one in kept)

    async def due(
        self,
        hash_algorithm: str,
        *,
        issuers: Sequence[str],
        before: datetime,
        now: datetime,
        after: int,
        limit: int,
    ) -> list[Due]:
        """Certificates of these issuers whose response does not last, by serial number."""
        lasting = and_(
            ocsp_responses.c.serial == certificates.c.serial,
            ocsp_responses.c.hash_algorithm == hash_algorithm,
            ocsp_responses.c.state == certificates.c.state,
            ocsp_responses.c.next_update >= before,
        )
        statement = (
            select(certificates)
            .outerjoin(ocsp_responses, lasting)
            .where(
                ocsp_responses.c.serial.is_(None),
                certificates.c.serial > key_of(after),
                certificates.c.state.in_(("issued", "revoked")),
                certificates.c.role.not_in(_UNASKED),
                certificates.c.issuer.in_(issuers),
                certificates.c.not_after > now,
            )
            .order_by(certificates.c.serial)
            .limit(limit)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(statement)).all()
        return [Due(int(row.serial, 16), row.issuer, _status(row)) for row in rows]

    async def forget(self, before: datetime) -> int:
        """Remove what went stale before; how many there were."""
        async with self._database.write() as connection:
            done = await connection.execute(
                delete(ocsp_responses).where(ocsp_responses.c.next_update < before)
            )
            return done.rowcount


def _status(row: Row[Any]) -> Status:
    if row.revoked_at is None:
        return Status(issued=True)
    revoked = Revoked(int(row.serial, 16), row.revoked_at, row.reason or "superseded")
    return Status(issued=True, revoked=revoked)


def _state(status: Status) -> str:
    return "revoked" if status.revoked else "issued"


def _values(one: Produced) -> dict[str, object]:
    return {
        "serial": key_of(one.serial),
        "hash_algorithm": one.hash_algorithm,
        "responder": one.responder,
        "state": _state(one.status),
        "der": one.der,
        "produced_at": one.produced_at,
        "next_update": one.next_update,
    }
