"""Tokens in the database: keyed hashes, what they may do, and how they ended.

Access tokens of OAuth2 clients are rows among the others, so that every call finds whoever calls in
the one look that it takes; the one place where tokens end is this table.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    and_,
    delete,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.errors import AccountNotFound, LimitReached
from hashseal_server.accounts.last_use import COARSE, Notes
from hashseal_server.accounts.model import AccountId, Principal, TokenId
from hashseal_server.accounts.recognition import Kept, KeptToken
from hashseal_server.accounts.secret_rows import SecretRows
from hashseal_server.accounts.store import accounts, read_entitlements, read_scopes
from hashseal_server.accounts.token_model import MOST, ApiToken, Kind
from hashseal_server.audit import Event, append
from hashseal_server.infra.db import Database, UtcDateTime, metadata
from hashseal_server.infra.statements import as_time

tokens = Table(
    "api_token",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("account_id", String(32), ForeignKey("account.id"), nullable=False, index=True),
    Column("keyed_hash", LargeBinary(32), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
    Column("kind", String(12)),
    Column("label", String(200)),
    Column("holder", String(200)),
    Column("scopes", String(100)),
    Column("networks", Text),
    Column("expires_at", UtcDateTime, index=True),
    Column("rotated_at", UtcDateTime),
    Column("earlier_hash", LargeBinary(32)),
    Column("earlier_until", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    Column("client_id", String(16), index=True),
    Index(
        "uq_api_token_organisation",
        "account_id",
        unique=True,
        sqlite_where=text("kind = 'organisation' AND revoked_at IS NULL"),
        postgresql_where=text("kind = 'organisation' AND revoked_at IS NULL"),
    ),
)
KEPT = "keyed_hash, earlier_hash, earlier_until, expires_at, networks, scopes, client_id"
"""Columns that say whether a caller is who it says; `read_kept` takes them in this order."""
_LISTED = or_(tokens.c.kind.is_(None), tokens.c.kind != Kind.ACCESS)
_ROWS = SecretRows("token", tokens, _LISTED)
_BY_ID = text(f"""
    SELECT t.account_id, a.entitlements, {", ".join(f"t.{name}" for name in KEPT.split(", "))}
    FROM api_token t JOIN account a ON a.id = t.account_id
    WHERE t.id = :id AND t.revoked_at IS NULL""")  # noqa: S608 - our own names


class TokenStore:
    """Rows in, values out; every read of an account's tokens takes the account."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def kept(self, token_id: TokenId) -> KeptToken | None:
        """What is kept of a token, whosever it is; None when there is none, or it was revoked."""
        async with self._database.read() as connection:
            row = (await connection.execute(_BY_ID, {"id": token_id})).first()
        return None if row is None else read_kept(token_id, *row)

    async def add(self, token: ApiToken, keyed_hash: bytes, by: str) -> bool:
        """Keep a new token; False if it is an organisation's second one.

        Raises:
            AccountNotFound, LimitReached.
        """
        async with self._database.write() as connection:
            await _lock(connection, token.account_id)
            its = and_(tokens.c.account_id == token.account_id, tokens.c.revoked_at.is_(None))
            if token.kind is Kind.ORGANISATION and await connection.scalar(
                select(tokens.c.id).where(its, tokens.c.kind == Kind.ORGANISATION)
            ):
                return False
            held = await connection.scalar(select(func.count()).where(its, _LISTED))
            if held is not None and held >= MOST:
                raise LimitReached(f"an account has {MOST} tokens at most")
            await insert(connection, token, keyed_hash)
            content = {**_described(token), "by": by}
            at, owner = token.created_at, token.account_id
            await append(connection, [Event("token.created", content, at, owner)])
        return True

    async def all(self, account_id: AccountId) -> list[ApiToken]:
        """The account's tokens that were not revoked, oldest first."""
        statement = (
            select(tokens)
            .where(tokens.c.account_id == account_id, tokens.c.revoked_at.is_(None), _LISTED)
            .order_by(tokens.c.created_at, tokens.c.id)
        )
        async with self._database.read() as connection:
            return [_token(row) for row in await connection.execute(statement)]

    async def find(self, account_id: AccountId | None, token_id: str) -> ApiToken:
        """One token, of this account or, for the operator, of any.

        Raises:
            NotFound: absent, or another account's.
        """
        return _token(await _ROWS.find(self._database, account_id, token_id))

    async def organisation(self, account_id: AccountId) -> ApiToken | None:
        """The token of the account itself, if it has one."""
        found = [one for one in await self.all(account_id) if one.kind is Kind.ORGANISATION]
        return found[0] if found else None

    async def rotate(self, changed: ApiToken, keyed_hash: bytes, by: str) -> None:
        """Keep a new secret of a token; the one before is good until `earlier_until`.

        The one before that is good no more.

        Raises:
            NotFound: there is none, or it was revoked.
        """
        content = {**_described(changed), "by": by}
        until = changed.expires_at
        async with self._database.write() as connection:
            await _ROWS.rotate(connection, changed, keyed_hash, content, expires_at=until)

    async def revoke(
        self, account_id: AccountId | None, token_id: str, at: datetime, by: str
    ) -> None:
        """Refuse a token from now on; one that was revoked before stays as it is.

        Raises:
            NotFound: absent, or another account's.
        """
        async with self._database.write() as connection:
            await _ROWS.revoke(connection, account_id, token_id, at, by)

    async def note(self, notes: Notes) -> None:
        """Write when tokens were last used, and hashes under the newest key.

        A use that another replica has written lately is not written again.

        Raises:
            StorageUnavailable: nothing was written.
        """
        async with self._database.write() as connection:
            for token_id, at in sorted(notes.uses.items()):  # in one order: nobody waits in a ring
                last = tokens.c.last_used_at
                await connection.execute(
                    update(tokens)
                    .where(tokens.c.id == token_id, or_(last.is_(None), last <= at - COARSE))
                    .values(last_used_at=at)
                )
            for token_id, (kept, renewed) in sorted(notes.hashes.items()):
                await connection.execute(
                    update(tokens)
                    .where(tokens.c.id == token_id, tokens.c.keyed_hash == kept)
                    .values(keyed_hash=renewed)
                )


async def insert(
    connection: AsyncConnection, token: ApiToken, keyed_hash: bytes, **more: object
) -> None:
    """Write a new token in the caller's transaction."""
    await connection.execute(
        tokens.insert().values(
            id=token.id,
            account_id=token.account_id,
            keyed_hash=keyed_hash,
            created_at=token.created_at,
            kind=token.kind,
            label=token.label,
            holder=token.holder,
            scopes=" ".join(sorted(token.scopes)),
            networks=" ".join(token.networks) or None,
            expires_at=token.expires_at,
            **more,
        )
    )


async def forget(database: Database, *, before: datetime, limit: int) -> int:
    """Remove up to `limit` access tokens that ended earlier; how many there were.

    Raises:
        StorageUnavailable: nothing was removed.
    """
    old = (
        select(tokens.c.id)
        .where(tokens.c.expires_at < before, tokens.c.kind == Kind.ACCESS)
        .limit(limit)
    )
    async with database.write() as connection:
        done = await connection.execute(delete(tokens).where(tokens.c.id.in_(old)))
        return done.rowcount


def read_kept(token_id: TokenId, account_id: str, entitlements: str, *columns: Any) -> KeptToken:
    """What is kept of a token: whose it is, then the columns `KEPT`, from either database."""
    keyed_hash, earlier_hash, earlier_until, expires_at, networks, scopes, client_id = columns
    owner = Principal(
        AccountId(account_id),
        token_id,
        read_entitlements(entitlements),
        read_scopes(scopes),
        client_id,
    )
    kept = Kept(
        keyed_hash,
        earlier_hash,
        None if earlier_until is None else as_time(earlier_until),
        None if expires_at is None else as_time(expires_at),
        networks,
    )
    return KeptToken(kept, owner)


async def _lock(connection: AsyncConnection, account_id: str) -> None:
    """One at a time makes tokens of an account, so that they can be counted."""
    statement = select(accounts.c.id).where(accounts.c.id == account_id)
    if await connection.scalar(statement.with_for_update(key_share=True)) is None:
        raise AccountNotFound("no account with that id", field="account")


def _described(token: ApiToken) -> dict[str, object]:
    """What the audit log says of a token; never a name."""
    return {
        "token": token.id,
        "kind": token.kind.value,
        "scopes": sorted(token.scopes),
        "networks": list(token.networks),
        "expires_at": token.expires_at,
    }


def _token(row: Row[Any]) -> ApiToken:
    return ApiToken(
        id=TokenId(row.id),
        account_id=AccountId(row.account_id),
        kind=Kind(row.kind or Kind.PERSONAL),
        label=row.label,
        holder=row.holder,
        scopes=read_scopes(row.scopes),
        networks=tuple((row.networks or "").split()),
        created_at=row.created_at,
        expires_at=row.expires_at,
        rotated_at=row.rotated_at,
        earlier_until=row.earlier_until,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
