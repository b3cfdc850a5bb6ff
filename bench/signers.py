"""Signers over a SoftHSM2 token: CPU of the raw operation in the same module ÷ all CPU per signature."""

from __future__ import annotations

import asyncio
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from subjects import certificate_for
from table import Row
from tokens import MODULE, PIN, Tokens, end

from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_server.keystore.authorisation import Authoriser
from hashseal_server.keystore.port import DocumentOrder
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.remote import RemoteSigners

PROCESSES = 2
ROUNDS = 3
SECONDS = 2.5
TICKS = os.sysconf("SC_CLK_TCK")
SCHEMES = {
    KeyAlgorithm.RSA3072: SignatureScheme.RSA_PKCS1,
    KeyAlgorithm.P256: SignatureScheme.ECDSA,
}
LOOP = f"""
import sys, time, pkcs11
from pkcs11 import KeyType, Mechanism, ObjectClass
session = pkcs11.lib({str(MODULE)!r}).get_token(token_label="seal").open(user_pin={PIN!r})
key = session.get_key(ObjectClass.PRIVATE_KEY, id=bytes.fromhex(sys.argv[1]))
rsa = key.key_type is KeyType.RSA
octets, mechanism = bytes(51 if rsa else 32), Mechanism.RSA_PKCS if rsa else Mechanism.ECDSA
print("ready", flush=True)
sys.stdin.readline()
count, used, until = 0, time.process_time(), time.monotonic() + {SECONDS}
while time.monotonic() < until:
    key.sign(octets, mechanism=mechanism)
    count += 1
print(count, time.process_time() - used)
"""


def raw(tokens: Tokens, key: str) -> tuple[float, float]:
    """Signatures a second and CPU seconds each, in a tight loop in as many processes."""
    running = []
    for _ in range(PROCESSES):  # one after the other: SoftHSM does not like it otherwise
        words = [sys.executable, "-c", LOOP, key.split(".")[1]]
        process = subprocess.Popen(
            words,
            env=tokens.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        process.stdout.readline()
        running.append(process)
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    made = [process.communicate()[0].split() for process in running]
    count = sum(int(one) for one, _ in made)
    return count / SECONDS, sum(float(used) for _, used in made) / count


def used_by(processes: list[subprocess.Popen[bytes]]) -> float:
    """CPU seconds of the signers and of this process."""
    ticks = 0
    for one in processes:
        words = Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, words[11:13]))
    return ticks / TICKS + time.process_time()


async def load(signers: RemoteSigners, order: DocumentOrder, batch: int, callers: int) -> int:
    """Signatures of so many callers in `SECONDS`, `batch` in each call."""
    count, until = 0, time.monotonic() + SECONDS

    async def caller() -> None:
        nonlocal count
        while time.monotonic() < until:
            digests = [
                Digest(DigestAlgorithm.SHA256, secrets.token_bytes(32)) for _ in range(batch)
            ]
            await signers.sign_documents(
                DocumentOrder(order.account, order.key, order.certificate, order.algorithm, digests)
            )
            count += batch

    await asyncio.gather(*(caller() for _ in range(callers)))
    return count


async def measure(
    tokens: Tokens, processes: list[subprocess.Popen[bytes]], kind: KeyAlgorithm, batch: int
) -> tuple[float, str]:
    """The ratio, and the figures behind it."""
    signers = RemoteSigners(
        tokens.signers,
        now=lambda: datetime.now(UTC),
        authoriser=lambda: Authoriser(tokens.authorisation_key),
    )
    key, spki = await signers.generate(Purpose.SEAL, kind, "bench")
    algorithm = SignatureAlgorithm(SCHEMES[kind], DigestAlgorithm.SHA256)
    order = DocumentOrder("bench", key, certificate_for(spki), algorithm, ())
    ratios, rates, raws = [], [], []
    for _ in range(ROUNDS):
        rate, seconds = raw(tokens, key)
        before = used_by(processes)
        count = await load(signers, order, batch, 32 if batch == 1 else 8)
        ratios.append(seconds * count / (used_by(processes) - before))
        rates.append(count / SECONDS)
        raws.append(rate)
    await signers.close()
    figures = f"{statistics.median(rates):.0f}/s; raw {statistics.median(raws):.0f}/s"
    return statistics.median(ratios), f"{figures} by {PROCESSES} processes"


def rows() -> Iterator[Row]:
    """One row for each kind of key and of call."""
    with tempfile.TemporaryDirectory() as folder:
        tokens = Tokens(Path(folder) / "hsm", labels=("seal",))
        tokens.purposes = {"seal": "seal"}
        processes = tokens.start(PROCESSES)
        for kind, batch, bar, goal in (
            (KeyAlgorithm.RSA3072, 1, 0.75, 0.92),
            (KeyAlgorithm.RSA3072, 100, 0.75, 0.92),
            (KeyAlgorithm.P256, 1, 0.15, 0.3),
            (KeyAlgorithm.P256, 100, 0.45, 0.75),
        ):
            ratio, figures = uvloop.run(measure(tokens, processes, kind, batch))
            calls = "single calls" if batch == 1 else f"batches of {batch}"
            yield Row(
                f"signers, SoftHSM2, {kind}, {calls}: raw ÷ all CPU", ratio, bar, goal, figures
            )
        end(processes)
