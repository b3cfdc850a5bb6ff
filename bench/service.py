"""The signing service under load: CPU of the raw signatures ÷ all CPU that was used."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cluster import Cluster
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from fleet import Fleet
from table import Row

from hashseal_core import cms, tsp
from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_server.accounts.model import AccountId
from hashseal_server.infra.commit import RequestIdentity
from hashseal_server.main import operator
from hashseal_server.pki.model import LegalPerson
from hashseal_server.settings import Settings
from hashseal_server.signing.model import Call, MadeSignature
from hashseal_server.signing.store import SigningStore
from hashseal_server.tsa import token as tokens
from hashseal_server.tsa.token import MadeToken

ROUNDS = 3
SECONDS = 4.0
REPLICAS = 2
TICKS = os.sysconf("SC_CLK_TCK")
DIGEST = Digest(DigestAlgorithm.SHA256, bytes(range(32)))
TOKEN = MadeToken(
    b"",
    tsp.TokenContent("1.2", DIGEST, 1 << 158, datetime.now(UTC), 1000),
    bytes(120),
    bytes(71),
    1,
)
SUBJECT = LegalPerson("Bench Seal", "Test Organisation", "NTRCH-1", "CH")


@dataclass(frozen=True)
class Stand:
    """A running service: where it is, how to get in, and whose CPU counts."""

    fleet: Fleet
    cluster: Cluster | None
    token: str
    seals: dict[str, str]

    def pids(self) -> list[int]:
        """Processes of the service and of its database."""
        return [*self.fleet.pids.values(), *(self.cluster.pids() if self.cluster else [])]

    def cpu(self) -> float:
        """CPU seconds that they have used, ended children of the database included."""
        used = 0
        for pid in self.pids():
            try:
                words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except FileNotFoundError:
                continue
            used += sum(map(int, words[11:15]))
        return used / TICKS


def raw_seconds(sign: Callable[[], object], least: float = 0.4) -> float:
    """CPU seconds of one operation in a tight loop."""
    count, began = 0, time.process_time()
    while time.process_time() - began < least:
        for _ in range(8):
            sign()
        count += 8
    return (time.process_time() - began) / count


def signers() -> dict[str, Callable[[], object]]:
    """The raw operations, as `cryptography` does them."""
    curve = ec.generate_private_key(ec.SECP256R1())
    rsa_key = rsa.generate_private_key(65537, 3072)
    octets = bytes(300)
    return {
        "P-256": lambda: curve.sign(octets, ec.ECDSA(hashes.SHA256())),
        "RSA-3072": lambda: rsa_key.sign(octets, padding.PKCS1v15(), hashes.SHA256()),
    }


async def set_up(settings: Settings) -> tuple[str, dict[str, str]]:
    """A founded service with an account that does not run dry."""
    async with operator(settings, migrate=settings.database_url is None) as opened:
        await opened.initialise()
        account = await opened.accounts.create("Bench")
        await opened.accounts.record_order(account.id, 1_000_000_000)
        token = await opened.accounts.create_token(account.id)
        book = await opened.seals()
        seals = {}
        for algorithm in (KeyAlgorithm.P256, KeyAlgorithm.RSA3072):
            seal = await book.create(account.id, SUBJECT, kind="official", algorithm=algorithm)
            seals[algorithm.value] = seal.id
        await opened.audit.sequence()
        return token.text, seals


@contextmanager
def stand(database: str) -> Iterator[Stand]:
    """A service with two replicas on a database of its own, durable commits."""
    cluster = None
    with tempfile.TemporaryDirectory() as folder:
        url = None
        if database == "PostgreSQL":
            cluster = Cluster(fsync="on")
            cluster.start()
            cluster.prepare()
            url = cluster.database("bench", "prepared")
        settings = Settings(
            data_dir=Path(folder), database_url=url, public_url="http://pki.example.com"
        )
        access, seals = asyncio.run(set_up(settings))
        fleet = Fleet(Path(folder), url, REPLICAS)
        fleet.start()
        try:
            wait_for(fleet)
            yield Stand(fleet, cluster, access, seals)
        finally:
            fleet.stop()
            if cluster:
                cluster.stop()


def wait_for(fleet: Fleet) -> None:
    """Until every replica answers."""
    import httpx2

    until = time.monotonic() + 60
    for index in range(fleet.size):
        while True:
            try:
                if httpx2.get(f"{fleet.url(index)}/readyz", timeout=5).status_code == 200:
                    break
            except httpx2.HTTPError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)


def load(place: Stand, **order: Any) -> list[dict[str, Any]]:
    """Callers on every replica at once, a process each."""
    callers = [
        subprocess.Popen(
            [
                *(sys.executable, str(Path(__file__).parent / "load.py")),
                json.dumps({"url": place.fleet.url(index), "token": place.token, **order}),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(place.fleet.size)
    ]
    return [json.loads(caller.communicate(timeout=120)[0]) for caller in callers]


def calls(answers: list[dict[str, Any]], status: str = "200") -> int:
    """How many calls had this status."""
    return sum(answer["statuses"].get(status, 0) for answer in answers)


def signing(database: str) -> Iterator[Row]:
    """Single calls and batches: raw CPU of the two signatures ÷ all CPU of server and database."""
    cases = (
        ("RSA-3072 + P-256 TSU, single, 64 callers", "RSA-3072", 32, 1, 0.75, 0.92),
        ("P-256 + P-256 TSU, single, 128 callers", "P-256", 64, 1, 0.15, 0.30),
        ("P-256 + P-256 TSU, batch of 100, 16 callers", "P-256", 8, 100, 0.45, 0.75),
    )
    raw = signers()
    with stand(database) as place:
        for name, key, connections, size, bar, goal in cases:
            order = {
                "seal": place.seals[key], "level": "B-LT", "size": size,
                "connections": connections,
            }  # fmt: skip
            load(place, **order, seconds=1.0)
            ratios, rates, latencies = [], [], []
            for _ in range(ROUNDS):
                one = raw_seconds(raw[key]) + raw_seconds(raw["P-256"])
                before = place.cpu()
                answers = load(place, **order, seconds=SECONDS)
                used = place.cpu() - before
                done = calls(answers)
                ratios.append(done * size * one / used)
                rates.append(done * size / max(answer["seconds"] for answer in answers))
                latencies.append(1000 * max(answer["p50"] for answer in answers))
            yield Row(
                f"{name}, {database}", statistics.median(ratios), bar, goal,
                f"{statistics.median(rates):.0f} signatures/s, p50 {statistics.median(latencies):.0f} ms",
            )  # fmt: skip
        if database == "PostgreSQL":
            yield timestamps(place, raw["P-256"])
            yield idle(place, raw)
            yield overload(place)
            yield growth(place)


def builders() -> Iterator[Row]:
    """CPU of building, without the signature, ÷ one RSA-2048 signature; less is better."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Bench")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )  # fmt: skip
    certificate = built.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    chain, units = (certificate,) * 3, (certificate,) * 2
    digest = DIGEST
    algorithm = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
    value = bytes(71)
    rsa_key = rsa.generate_private_key(65537, 2048)
    unit = raw_seconds(lambda: rsa_key.sign(value, padding.PKCS1v15(), hashes.SHA256()))

    def cms_of() -> bytes:
        attributes = cms.signed_attributes(digest, certificate)
        return cms.assemble(
            signature_algorithm=algorithm, signed_attributes_der=attributes,
            signature_value=value, certificates=chain,
        )  # fmt: skip

    def token_of() -> bytes:
        content = tsp.TokenContent(
            policy="1.3.6.1.4.1.32473.1.2", digest=digest, serial=1 << 158,
            generated_at=now, accuracy_ms=1000, nonce=None,
        )  # fmt: skip
        encoded = tsp.tst_info(content)
        attributes = tokens.to_be_signed(encoded, certificate)
        return tokens.assemble(encoded, units, attributes, value)

    for title, work in (("CMS", cms_of), ("timestamp token", token_of)):
        one = statistics.median(raw_seconds(work) for _ in range(ROUNDS))
        yield Row(
            f"CPU to build a {title} ÷ an RSA-2048 signature", one / unit, 0.03, 0.015,
            f"{1e6 * one:.0f} µs and {1e6 * unit:.0f} µs", less=True,
        )  # fmt: skip


def timestamps(place: Stand, sign: Callable[[], object]) -> Row:
    """RFC 3161 over HTTP."""
    query = tsp.build_request(Digest(DigestAlgorithm.SHA256, bytes(range(32))), nonce=7)
    order = {"query": base64.b64encode(query).decode(), "connections": 32}
    ratios, rates = [], []
    for _ in range(ROUNDS):
        one, before = raw_seconds(sign), place.cpu()
        answers = load(place, **order, seconds=SECONDS)
        ratios.append(calls(answers) * one / (place.cpu() - before))
        rates.append(calls(answers) / max(answer["seconds"] for answer in answers))
    return Row(
        "RFC 3161 over HTTP, P-256 ÷ raw sign rate, by CPU", statistics.median(ratios), 0.15, 0.30,
        f"{statistics.median(rates):.0f} tokens/s",
    )  # fmt: skip


def idle(place: Stand, raw: dict[str, Callable[[], object]]) -> Row:
    """What an idle server adds to the two signatures, milliseconds; less is better."""
    order = {"seal": place.seals["P-256"], "level": "B-LT", "size": 1, "connections": 1}
    crypto = 2 * raw_seconds(raw["P-256"])
    added = []
    for _ in range(ROUNDS):
        answers = load(place, **order, seconds=2.0)
        added.append(1000 * (statistics.median(a["p50"] for a in answers) - crypto))
    return Row(
        "latency that an idle server adds, p50, ms", statistics.median(added), 5, 2,
        "two replicas, one caller each, durable commit included", less=True,
    )  # fmt: skip


def overload(place: Stand) -> Row:
    """Goodput at three times the load that it can take ÷ peak."""
    order = {"seal": place.seals["RSA-3072"], "level": "B-LT", "size": 1, "connections": 32}
    peak = load(place, **order, seconds=SECONDS)
    most = calls(peak) / max(answer["seconds"] for answer in peak)
    pressed = load(place, **order, seconds=8.0, rate=3 * most / place.fleet.size)
    good = calls(pressed) / 8.0
    late = max(answer["p99"] for answer in pressed)
    return Row(
        "goodput at three times the offered load ÷ peak", good / most, 0.8, 0.95,
        f"peak {most:.0f}/s; {calls(pressed, '503')} refused, {calls(pressed, '0')} lost; "
        f"p99 of accepted {1000 * late:.0f} ms",
    )  # fmt: skip


def growth(place: Stand) -> Row:
    """CPU of one call with a million records ÷ with a few thousand; less is better."""
    order = {"seal": place.seals["P-256"], "level": "B-LT", "size": 1, "connections": 16}

    def each() -> float:
        before = place.cpu()
        done = calls(load(place, **order, seconds=SECONDS))
        return (place.cpu() - before) / done

    small = statistics.median(each() for _ in range(ROUNDS))
    cluster = place.cluster
    assert cluster is not None
    cluster.sql(MILLION, database="bench")
    cluster.sql("VACUUM ANALYZE", database="bench")
    large = statistics.median(each() for _ in range(ROUNDS))
    return Row(
        "CPU of one call with 10⁶ records ÷ with 10³", large / small, 1.2, 1.05,
        f"{1e6 * small:.0f} µs and {1e6 * large:.0f} µs", less=True,
    )  # fmt: skip


MILLION = """
    INSERT INTO signature (id, call_id, account_id, seal_id, hash_algorithm, hash, level,
        signed_data, signature_value, signed_at)
    SELECT 'x' || n, 'x' || n, s.account_id, s.id, 'SHA-256', '\\x00', 'B-B', '', '\\x00', now()
    FROM generate_series(1, 1000000) AS n, (SELECT * FROM seal LIMIT 1) AS s;
    INSERT INTO ledger (account_id, kind, free, paid, reference, booked_at)
    SELECT s.account_id, 'call', 0, 0, 'x' || n, now()
    FROM generate_series(1, 1000000) AS n, (SELECT * FROM seal LIMIT 1) AS s;
    INSERT INTO idempotency_answer (account_id, key_hash, request_digest, answer, created_at)
    SELECT s.account_id, decode(md5(n::text) || md5('x' || n), 'hex'), '\\x00', '\\x00', now()
    FROM generate_series(1, 1000000) AS n, (SELECT * FROM seal LIMIT 1) AS s
"""


def group_commit(database: str) -> Row:
    """Calls committed together ÷ one transaction for each, 64 callers, the same database."""

    async def rate(settings: Settings, limit: int, account: str, seal: str) -> float:
        async with operator(settings, migrate=False) as opened:
            store = SigningStore(opened.database, group_limit=limit)
            count, until = 0, time.perf_counter() + SECONDS

            async def caller(number: int) -> None:
                nonlocal count
                turn = 0
                while time.perf_counter() < until:
                    turn += 1
                    name = f"{limit:x}{os.urandom(8).hex()}"
                    call = Call(
                        id=name, account_id=AccountId(account), token_id="t", seal_id=seal,
                        serials=(), level="B-B", at=opened.accounts._now(),
                        signatures=(MadeSignature(name, DIGEST, bytes(71), TOKEN, b""),),
                        validation=None,
                    )  # fmt: skip
                    await store.commit(
                        RequestIdentity(account, f"{number}-{turn}-{name}", "bench", b""), call
                    )
                    count += 1

            began = time.perf_counter()
            await asyncio.gather(*(caller(n) for n in range(64)))
            return count / (time.perf_counter() - began)

    with stand(database) as place:
        settings = Settings(
            data_dir=place.fleet.data_dir,
            database_url=place.fleet.database_url,
            public_url="http://pki.example.com",
        )

        async def whose() -> tuple[str, str]:
            async with operator(settings, migrate=False) as opened:
                account = (await opened.account_store.all())[0].id
                return account, (await opened.seal_store.all(account))[0].id

        account, seal = asyncio.run(whose())
        together, alone = [], []
        for _ in range(ROUNDS):
            together.append(asyncio.run(rate(settings, 128, account, seal)))
            alone.append(asyncio.run(rate(settings, 1, account, seal)))
    return Row(
        f"group commit ÷ one transaction per call, {database}",
        statistics.median(together) / statistics.median(alone), 5, 15,
        f"{statistics.median(together):.0f}/s and {statistics.median(alone):.0f}/s",
    )  # fmt: skip
