"""OAuth2 clients in the database, and the access tokens that they are given."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ForeignKey,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    and_,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.errors import AccountNotFound, ClientInvalid, LimitReached
from hashseal_server.accounts.last_use import COARSE
from hashseal_server.accounts.model import AccountId, ClientId, TokenId
from hashseal_server.accounts.recognition import Kept
from hashseal_server.accounts.secret_rows import SecretRows
from hashseal_server.accounts.store import accounts, read_scopes
from hashseal_server.accounts.token_model import MOST, ApiToken, Client, KeptClient, ShownSecret
from hashseal_server.accounts.token_store import insert, tokens
from hashseal_server.audit import Event, append
from hashseal_server.infra.db import Database, UtcDateTime, metadata

clients = Table(
    "oauth_client",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("account_id", String(32), ForeignKey("account.id"), nullable=False, index=True),
    Column("label", String(200)),
    Column("scopes", String(100), nullable=False),
    Column("networks", Text),
    Column("keyed_hash", LargeBinary(32), nullable=False),
    Column("earlier_hash", LargeBinary(32)),
    Column("earlier_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("rotated_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
)
_ROWS = SecretRows("client", clients, true())


class ClientStore:
    """Rows in, values out; what an account does with its clients takes the account."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def kept(self, client_id: str) -> KeptClient | None:
        """A client with what is kept of its secret; None when there is none, or it was revoked."""
        statement = select(clients).where(clients.c.id == client_id, clients.c.revoked_at.is_(None))
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).first()
        if row is None:
            return None
        kept = Kept(
            row.keyed_hash, row.earlier_hash, row.earlier_until, networks=row.networks or None
        )
        return KeptClient(_client(row), kept)

    async def add(self, client: Client, keyed_hash: bytes, by: str) -> None:
        """Keep a new client.

        Raises:
            AccountNotFound, LimitReached.
        """
        statement = select(accounts.c.id).where(accounts.c.id == client.account_id)
        alive = and_(clients.c.account_id == client.account_id, clients.c.revoked_at.is_(None))
        async with self._database.write() as connection:
            # One at a time makes clients of an account, so that they can be counted.
            if await connection.scalar(statement.with_for_update(key_share=True)) is None:
                raise AccountNotFound("no account with that id", field="account")
            held = await connection.scalar(select(func.count()).where(alive))
            if held is not None and held >= MOST:
                raise LimitReached(f"an account has {MOST} clients at most")
            await connection.execute(
                clients.insert().values(
                    id=client.id,
                    account_id=client.account_id,
                    label=client.label,
                    scopes=" ".join(sorted(client.scopes)),
                    networks=" ".join(client.networks) or None,
                    keyed_hash=keyed_hash,
                    created_at=client.created_at,
                )
            )
            content = {**_described(client), "by": by}
            at, owner = client.created_at, client.account_id
            await append(connection, [Event("client.created", content, at, owner)])

    async def all(self, account_id: AccountId) -> list[Client]:
        """The account's clients that were not revoked, oldest first."""
        statement = (
            select(clients)
            .where(clients.c.account_id == account_id, clients.c.revoked_at.is_(None))
            .order_by(clients.c.created_at, clients.c.id)
        )
        async with self._database.read() as connection:
            return [_client(row) for row in await connection.execute(statement)]

    async def find(self, account_id: AccountId | None, client_id: str) -> Client:
        """One client, of this account or, for the operator, of any.

        Raises:
            NotFound: absent, or another account's.
        """
        return _client(await _ROWS.find(self._database, account_id, client_id))

    async def rotate(self, changed: Client, keyed_hash: bytes, by: str) -> None:
        """Keep a new secret of a client; the one before is good until `earlier_until`.

        Where it is not, the access tokens that it gave end too.

        Raises:
            NotFound: there is none, or it was revoked.
        """
        content = {**_described(changed), "by": by}
        async with self._database.write() as connection:
            await _ROWS.rotate(connection, changed, keyed_hash, content)
            if changed.earlier_until is None:
                at = changed.rotated_at or changed.created_at
                await _end_access(connection, changed.id, at)

    async def revoke(
        self, account_id: AccountId | None, client_id: str, at: datetime, by: str
    ) -> None:
        """Refuse a client and its access tokens from now on; a revoked one stays as it is.

        Raises:
            NotFound: absent, or another account's.
        """
        async with self._database.write() as connection:
            if await _ROWS.revoke(connection, account_id, client_id, at, by):
                await _end_access(connection, client_id, at)

    async def grant(
        self, access: ApiToken, keyed_hash: bytes, client_id: ClientId, shown: ShownSecret
    ) -> None:
        """Keep an access token, if the client still has the secret that it showed.

        The client's row is locked: its revocation is either seen here, or sees this token.

        Raises:
            ClientInvalid: revoked, or another secret, since it was looked at.
        """
        at = access.created_at
        good = or_(
            clients.c.keyed_hash == shown.kept,
            and_(clients.c.earlier_hash == shown.kept, clients.c.earlier_until > at),
        )
        statement = select(clients.c.last_used_at).where(
            clients.c.id == client_id, clients.c.revoked_at.is_(None), good
        )
        async with self._database.write() as connection:
            row = (await connection.execute(statement.with_for_update(key_share=True))).first()
            if row is None:
                raise ClientInvalid("the client is not known, or its secret is wrong")
            await insert(connection, access, keyed_hash, client_id=client_id)
            if shown.renewed is not None:
                await connection.execute(
                    update(clients)
                    .where(clients.c.id == client_id, clients.c.keyed_hash == shown.kept)
                    .values(keyed_hash=shown.renewed)
                )
            if row.last_used_at is None or row.last_used_at <= at - COARSE:
                await connection.execute(
                    update(clients).where(clients.c.id == client_id).values(last_used_at=at)
                )
            content: dict[str, object] = {
                "client": client_id,
                "token": access.id,
                "scopes": sorted(access.scopes),
                "expires_at": access.expires_at,
            }
            await append(connection, [Event("access.granted", content, at, access.account_id)])

    async def withdraw(self, client_id: ClientId, token_id: TokenId, at: datetime) -> None:
        """Refuse one access token of this client from now on; there may be none (RFC 7009, 2.2)."""
        async with self._database.write() as connection:
            owner = await connection.scalar(
                update(tokens)
                .where(
                    tokens.c.id == token_id,
                    tokens.c.client_id == client_id,
                    tokens.c.revoked_at.is_(None),
                )
                .values(revoked_at=at)
                .returning(tokens.c.account_id)
            )
            if owner is not None:
                content: dict[str, object] = {"client": client_id, "token": token_id}
                await append(connection, [Event("access.withdrawn", content, at, owner)])


async def _end_access(connection: AsyncConnection, client_id: str, at: datetime) -> None:
    await connection.execute(
        update(tokens)
        .where(
            tokens.c.client_id == client_id,
            tokens.c.revoked_at.is_(None),
            tokens.c.expires_at > at,  # the others are being removed, in an order of their own
        )
        .values(revoked_at=at)
    )


def _described(client: Client) -> dict[str, object]:
    """What the audit log says of a client; never a name."""
    return {
        "client": client.id,
        "scopes": sorted(client.scopes),
        "networks": list(client.networks),
    }


def _client(row: Row[Any]) -> Client:
    return Client(
        id=ClientId(row.id),
        account_id=AccountId(row.account_id),
        label=row.label,
        scopes=read_scopes(row.scopes),
        networks=tuple((row.networks or "").split()),
        created_at=row.created_at,
        rotated_at=row.rotated_at,
        earlier_until=row.earlier_until,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
