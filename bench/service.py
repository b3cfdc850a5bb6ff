"""The signing service under load: CPU of the raw signatures ÷ all CPU that was used."""

from __future__ import annotations

import asyncio
import base64
import os
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from limits import operations, raw_seconds, unit
from stand import Stand, calls, load, stand
from table import Fact, Row, cost

from hashseal_core import cms, tsp
from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_server.accounts.model import AccountId
from hashseal_server.infra.commit import RequestIdentity
from hashseal_server.main import operator
from hashseal_server.settings import Settings
from hashseal_server.signing.model import Call, MadeSignature
from hashseal_server.signing.store import SigningStore
from hashseal_server.tsa import token as tokens
from hashseal_server.tsa.token import MadeToken, TokenParts

ROUNDS = 3
SECONDS = 4.0
DIGEST = Digest(DigestAlgorithm.SHA256, bytes(range(32)))
TOKEN = MadeToken(
    b"",
    tsp.TokenContent("1.2", DIGEST, 1 << 158, datetime.now(UTC), 1000),
    b"",
    TokenParts(bytes(120), bytes(71), 1),
)


def signing(database: str) -> Iterator[Row | Fact]:
    """Single calls and batches: raw CPU of the two signatures ÷ all CPU of server and database."""
    cases = (
        ("RSA-3072 + P-256 TSU, single, 64 callers", "RSA-3072", 32, 1, 0.75, 0.92),
        ("P-256 + P-256 TSU, single, 128 callers", "P-256", 64, 1, 0.15, 0.30),
        ("P-256 + P-256 TSU, batch of 100, 16 callers", "P-256", 8, 100, 0.45, 0.75),
    )
    with stand(database) as place:
        for name, key, connections, size, bar, goal in cases:
            order = {
                "seal": place.seals[key], "level": "B-LT", "size": size,
                "connections": connections,
            }  # fmt: skip
            load(place, **order, seconds=1.0)
            ratios, rates, latencies, costs, units = [], [], [], [], []
            for _ in range(ROUNDS):
                one = raw_seconds(operations(key).sign) + raw_seconds(operations("P-256").sign)
                before = place.cpu()
                answers = load(place, **order, seconds=SECONDS)
                used = place.cpu() - before
                done = calls(answers) * size
                ratios.append(done * one / used)
                rates.append(done / max(answer["seconds"] for answer in answers))
                latencies.append(1000 * max(answer["p50"] for answer in answers))
                costs.append(used / done)
                units.append(used / done / unit())
            rate = statistics.median(rates)
            yield Row(
                f"{name}, {database}", statistics.median(ratios), bar, goal,
                f"{rate:.0f} signatures/s, p50 {statistics.median(latencies):.0f} ms",
            )  # fmt: skip
            yield cost(
                "  one signature, service and database", statistics.median(costs),
                statistics.median(units), rate,
                "CMS, token, validation material; verified, charged, recorded, audited",
            )  # fmt: skip
        if database == "PostgreSQL":
            yield timestamps(place)
            yield idle(place)
            yield from overload(place)
            yield from growth(place)


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
    rsa_2048 = unit()

    def cms_of() -> bytes:
        attributes = cms.signed_attributes(digest, certificate)
        return cms.assemble(
            signature_algorithm=algorithm, signed_attributes_der=attributes,
            signature_value=value, certificates=chain,
        )  # fmt: skip

    around = tokens.frame(units)

    def token_of() -> bytes:
        content = tsp.TokenContent(
            policy="1.3.6.1.4.1.32473.1.2", digest=digest, serial=1 << 158,
            generated_at=now, accuracy_ms=1000, nonce=None,
        )  # fmt: skip
        encoded = tsp.tst_info(content)
        attributes = tsp.signed_attributes(encoded, units[0])
        return around.assemble(attributes, value, encoded)

    for title, work in (("CMS", cms_of), ("timestamp token", token_of)):
        one = statistics.median(raw_seconds(work) for _ in range(ROUNDS))
        yield Row(
            f"CPU to build a {title} ÷ an RSA-2048 signature", one / rsa_2048, 0.03, 0.015,
            f"{1e6 * one:.0f} µs and {1e6 * rsa_2048:.0f} µs", less=True,
        )  # fmt: skip


def timestamps(place: Stand) -> Row:
    """RFC 3161 over HTTP."""
    query = tsp.build_request(Digest(DigestAlgorithm.SHA256, bytes(range(32))), nonce=7)
    order = {"query": base64.b64encode(query).decode(), "connections": 32}
    ratios, rates = [], []
    for _ in range(ROUNDS):
        one, before = raw_seconds(operations("P-256").sign), place.cpu()
        answers = load(place, **order, seconds=SECONDS)
        ratios.append(calls(answers) * one / (place.cpu() - before))
        rates.append(calls(answers) / max(answer["seconds"] for answer in answers))
    return Row(
        "RFC 3161 over HTTP, P-256 ÷ raw sign rate, by CPU", statistics.median(ratios), 0.15, 0.30,
        f"{statistics.median(rates):.0f} tokens/s",
    )  # fmt: skip


def idle(place: Stand) -> Row:
    """What an idle server adds to the two signatures, milliseconds; less is better."""
    order = {"seal": place.seals["P-256"], "level": "B-LT", "size": 1, "connections": 1}
    crypto = 2 * raw_seconds(operations("P-256").sign)
    added = []
    for _ in range(ROUNDS):
        (answer,) = load(place, 1, **order, seconds=2.0)
        added.append(1000 * (answer["p50"] - crypto))
    return Row(
        "latency that an idle server adds, p50, ms", statistics.median(added), 5, 2,
        "one caller, one call at a time, durable commit included", less=True,
    )  # fmt: skip


def overload(place: Stand) -> Iterator[Row]:
    """Goodput, latency and memory at three times the load that it can take, against the peak."""
    order = {"seal": place.seals["RSA-3072"], "level": "B-LT", "size": 1}
    full = load(place, **order, connections=64, seconds=SECONDS)
    peak = load(place, **order, connections=32, seconds=SECONDS)
    most = max(calls(each) / max(a["seconds"] for a in each) for each in (full, peak))
    before = place.memory()
    pressed = load(place, **order, seconds=12.0, rate=3 * most / place.fleet.size)
    good = calls(pressed) / 12.0
    late = max(answer["p99"] for answer in pressed)
    yield Row(
        "goodput at three times the offered load ÷ peak", good / most, 0.8, 0.95,
        f"peak {most:.0f}/s; {calls(pressed, '503')} refused, {calls(pressed, '0')} lost",
    )  # fmt: skip
    usual = max(answer["p99"] for answer in full)
    yield Row(
        "p99 of accepted calls at three times the load ÷ at 64 callers a replica", late / usual,
        3, 2, f"{1000 * late:.0f} ms and {1000 * usual:.0f} ms", less=True,
    )  # fmt: skip
    after = place.memory()
    yield Row(
        "memory after the overload ÷ before", after / before, 1.2, 1.05,
        f"{after:.0f} MiB and {before:.0f} MiB, the larger replica", less=True,
    )  # fmt: skip


def growth(place: Stand) -> Iterator[Row]:
    """CPU of one call, and memory, with a million records ÷ with a few thousand."""
    order = {"seal": place.seals["P-256"], "level": "B-LT", "size": 1, "connections": 16}

    def each() -> float:
        before = place.cpu()
        done = calls(load(place, **order, seconds=SECONDS))
        return (place.cpu() - before) / done

    small = statistics.median(each() for _ in range(ROUNDS))
    few = place.memory()
    cluster = place.cluster
    assert cluster is not None
    cluster.sql(MILLION, database="bench")
    cluster.sql("VACUUM ANALYZE", database="bench")
    large = statistics.median(each() for _ in range(ROUNDS))
    many = place.memory()
    yield Row(
        "CPU of one call with 10⁶ records ÷ with 10³", large / small, 1.2, 1.05,
        f"{1e6 * large:.0f} µs and {1e6 * small:.0f} µs", less=True,
    )  # fmt: skip
    yield Row(
        "memory of a replica with 10⁶ records ÷ with 10³", many / few, 1.2, 1.05,
        f"{many:.0f} MiB and {few:.0f} MiB", less=True,
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
