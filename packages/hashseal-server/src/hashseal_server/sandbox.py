"""The whole service inside a process: to try it, and for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.accounts.model import Account
from hashseal_server.infra.data_folder import locked
from hashseal_server.main import Operator, operator
from hashseal_server.pki.model import LegalPerson
from hashseal_server.sequencing import sequencing
from hashseal_server.settings import Settings
from hashseal_server.web.observing import Observed

SANDBOX_URL = "http://sandbox.hashseal.example.com"
SANDBOX_ALGORITHMS = (KeyAlgorithm.P256, KeyAlgorithm.RSA3072)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The whole service, ready to sign: no port, no network, one account."""

    app: Observed
    token: str
    seal_ids: Mapping[str, str]
    trust_anchor: bytes


@asynccontextmanager
async def sandbox(data_dir: Path) -> AsyncIterator[Sandbox]:
    """The service in this process, with test authority, account, token and one seal per algorithm.

    It does no background work and does not load DBOS: lists and responses that go stale are made
    anew when they are asked for, and nothing lives long enough here to expire.

    Raises:
        OutputRefused: the folder cannot be written.
    """
    settings = Settings(
        data_dir=data_dir,
        database_url=None,
        public_url=SANDBOX_URL,
        organisation="Hashseal TEST",
        test=True,
        requests_per_minute=0,
    )
    async with operator(settings) as opened:
        with locked(data_dir):
            await opened.initialise()
            account = await _sandbox_account(opened)
            seals = {
                seal.key_algorithm.value: seal.id
                for seal in await opened.seal_store.all(account.id)
            }
            for algorithm in SANDBOX_ALGORITHMS:
                if algorithm.value not in seals:
                    subject = LegalPerson(
                        "Hashseal TEST Seal", "Test Organisation", "NTRCH-TEST1", "CH"
                    )
                    book = await opened.seals()
                    made = await book.create(
                        account.id, subject, kind="official", algorithm=algorithm
                    )
                    seals[algorithm.value] = made.id
        token = await opened.accounts.create_token(account.id)
        app = (await opened.app()).asgi
        async with sequencing(opened.audit):
            yield Sandbox(app, token.text, seals, await opened.authority.trust_anchor())
        await opened.accounts.revoke_token(token.id)


async def _sandbox_account(opened: Operator) -> Account:
    """The sandbox's account; it never runs dry."""
    known = await opened.account_store.all()
    account = known[0] if known else await opened.accounts.create("Sandbox")
    left = await opened.account_store.balance(account.id)
    if left.free + left.paid < 10_000:  # noqa: PLR2004
        await opened.accounts.record_order(account.id, 100_000)
    return account
