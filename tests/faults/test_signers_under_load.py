"""Signer processes that are killed while several API processes sign through them.

What clients see: right signatures and typed errors. What is found afterwards: every answer as it
was given, exact books, a whole audit log. Nobody starts anything again by hand.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from callers import Journal, set_up
from cluster import Cluster
from tokens import OFFICER_PIN, PIN, Tokens, end
from under_load import (
    SIGNERS,
    TYPED,
    all_is_well,
    answered,
    calling,
    enough,
    present,
    replicas,
    serving,
    settings,
    verify,
)

from hashseal_core.algorithms import KeyAlgorithm

KILLS = int(os.environ.get("HASHSEAL_FAULT_KILLS", "200")) // 20


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[Tokens]:
    made = Tokens(tmp_path / "hsm")
    yield made
    end(made.begun)


def keep_running(tokens: Tokens) -> None:
    """`hashseal-server signer run`, as an operator starts it; what it says goes to a file."""
    words = (sys.executable, "-m", "hashseal_server.cli", "signer", "run")
    with said_by(tokens).open("ab") as log:
        tokens.begun.append(
            subprocess.Popen(
                [*words, "--processes", str(SIGNERS)],
                env=tokens.environment,
                stdout=log,
                stderr=log,
            )
        )


def said_by(tokens: Tokens) -> Path:
    return tokens.folder / "signers.log"


@pytest.mark.hsm
@pytest.mark.timeout(1800)
def test_signers_killed_at_random_lose_nothing(
    database: Callable[[], Cluster], tokens: Tokens, tmp_path: Path
) -> None:
    """Keys in SoftHSM2; `signer run` puts a new process where one was killed."""
    of = settings(
        tmp_path,
        database().database("killed", "prepared"),
        tokens.signers,
        tokens.folder / "authorisation-key",
    )

    async def scenario() -> None:
        first = tokens.start(1)
        access = await set_up(of, (KeyAlgorithm.P256, KeyAlgorithm.RSA3072))
        end(first)
        keep_running(tokens)
        await present(tokens.signers)
        fleet, journal, choose = replicas(of), Journal(), random.Random("signers")
        killed: Counter[int] = Counter()
        await serving(fleet)
        try:
            async with calling(fleet, access, journal, (1, 1, 2, 5)):
                while sum(killed.values()) < KILLS:
                    before = len(journal.answers)
                    there = await present(tokens.signers)
                    for pid in choose.sample(there, choose.choice((1, 1, 2, SIGNERS))):
                        os.kill(pid, signal.SIGKILL)
                        killed[pid] += 1
                    await enough(journal, before + 5)
                    await asyncio.sleep(choose.random() / 4)
            print(f"\n{len(killed)} killed; {len(journal.answers)} calls; {dict(journal.failures)}")
            assert len(killed) >= KILLS
            assert verify(journal.answers).total() >= len(journal.answers) > 5 * KILLS // SIGNERS
            assert set(journal.failures) <= TYPED
            await present(tokens.signers)
            await answered(fleet, access, journal)
            said = said_by(tokens).read_text()
            assert said, "nothing was heard of the signers, which were killed"
            for secret in (PIN.encode(), OFFICER_PIN.encode(), tokens.authorisation_key):
                journal.watch.secrets[secret] = "of the token"
            await all_is_well(of, fleet, journal, said)
        finally:
            fleet.stop()

    asyncio.run(scenario())
