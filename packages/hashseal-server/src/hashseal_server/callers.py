"""Who may call, joined: accounts, tokens and OAuth2 clients on one ring of keys.

Part of the composition root; `main` opens it with everything else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

from hashseal_core.errors import ConfigurationInvalid, HashsealError
from hashseal_server.accounts.client_service import Clients
from hashseal_server.accounts.client_store import ClientStore
from hashseal_server.accounts.guessing import Guesses
from hashseal_server.accounts.service import Accounts
from hashseal_server.accounts.store import AccountStore
from hashseal_server.accounts.token_service import Tokens
from hashseal_server.accounts.token_store import TokenStore
from hashseal_server.accounts.tokens import Keyring
from hashseal_server.infra.db import Database
from hashseal_server.infra.rates import Rates
from hashseal_server.keystore.folder import read_secret
from hashseal_server.settings import Settings

_NOTE_SECONDS = 60.0
_SHORTEST_KEY = 32


def callers(
    settings: Settings, database: Database, secret: bytes, now: Callable[[], datetime]
) -> tuple[Accounts, Clients]:
    """Who may call; `secret` is the data folder's.

    Raises:
        ConfigurationInvalid: a key is missing, open to others, or too short.
    """
    keys = Keyring([_key(path) for path in settings.token_key_files] or [secret])
    guesses = Guesses(settings.wrong_secrets_per_minute, now)
    book = TokenStore(database)
    accounts = Accounts(
        store=AccountStore(database),
        book=book,
        tokens=Tokens(store=book, keys=keys, now=now),
        keys=keys,
        guesses=guesses,
        now=now,
    )
    clients = Clients(
        store=ClientStore(database),
        keys=keys,
        guesses=guesses,
        limits=Rates(database, settings.requests_per_minute, now),
        grants=Rates(database, settings.access_tokens_per_minute, now),
        lifetime=timedelta(seconds=settings.access_token_seconds),
        now=now,
    )
    return accounts, clients


def _key(path: Path) -> bytes:
    key = read_secret(path, "token_key_files")
    if len(key) < _SHORTEST_KEY:
        raise ConfigurationInvalid(f"{path} has less than 32 octets", field="token_key_files")
    return key


@asynccontextmanager
async def noting(accounts: Accounts) -> AsyncIterator[None]:
    """Write when tokens were last used each minute while the block runs, and once at its end."""

    async def each_minute() -> None:
        while True:
            await asyncio.sleep(_NOTE_SECONDS)
            with contextlib.suppress(HashsealError):  # the next round comes in a minute
                await accounts.note_uses()

    task = asyncio.create_task(each_minute())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        with contextlib.suppress(HashsealError):  # nothing depends on it
            await accounts.note_uses()
