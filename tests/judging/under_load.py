"""Many clients sign through several replicas and signer processes, and what is found afterwards.

What clients see: right signatures and typed errors. What is found: every answer as it was given,
exact books, a whole audit log. Nobody starts anything again by hand.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import msgspec
from books import check_audit, check_books, check_secrets
from callers import ACCOUNTS, Access, Journal, changed, client
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509 import ocsp
from fleet import Fleet

from hashseal_core import cms, protocol, tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_server.keystore.folder import sockets
from hashseal_server.main import operator
from hashseal_server.settings import Settings

REPLICAS, SIGNERS, CALLERS = 3, 3, 16
WAITING = 60.0
"""Seconds that a caller waits: a replica that is there answers, how loaded the machine may be."""
TYPED = {
    *("keystore-unavailable", "faulty-signature", "timestamp-unavailable", "evidence-unavailable"),
}
"""What a caller may be told while signers misbehave."""


def verified(key: CertificatePublicKeyTypes, value: bytes, signed: bytes) -> None:
    """Raise unless `value` is a signature with SHA-256 over `signed`."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(value, signed, ec.ECDSA(hashes.SHA256()))
    else:
        assert isinstance(key, rsa.RSAPublicKey)
        key.verify(value, signed, padding.PKCS1v15(), hashes.SHA256())


def verify(answers: dict[str, tuple[Access, object, bytes]]) -> Counter[str]:
    """Verify every signature in the answers with the public key of who made it; how many of each.

    Status data and certificates that several answers share are verified once.
    """
    count: Counter[str] = Counter()
    material: set[bytes] = set()
    for _, body, octets in answers.values():
        told = msgspec.json.decode(octets, type=protocol.SignedDocuments)
        asked = [base64.b64decode(one) for one in body["hashes"]]  # type: ignore[index]
        for value, one in zip(asked, told.signatures, strict=True):
            signed = cms.parse(one.signature)
            assert signed.message_digest == value
            holder = x509.load_der_x509_certificate(signed.signing_certificate).public_key()
            verified(holder, signed.signature_value, signed.signed_attributes_der)
            count["RSA" if isinstance(holder, rsa.RSAPublicKey) else "EC"] += 1
            if one.timestamp:
                over = Digest(DigestAlgorithm.SHA256, tsp.imprint_of(signed.signature_value).value)
                tsp.check_token(one.timestamp.token, over)
                count["token"] += 1
        if (found := told.validation) is not None:
            issuers = [x509.load_der_x509_certificate(der) for der in found.certificates]
            for kind, judge, parts in (
                ("certificate", check_certificate, found.certificates),
                ("ocsp", check_ocsp, found.ocsp_responses),
                ("crl", check_crl, found.crls),
            ):
                for der in {*parts} - material:
                    judge(der, issuers)
                    count[kind] += 1
            material |= {*found.certificates, *found.ocsp_responses, *found.crls}
    return count


def check_certificate(der: bytes, issuers: Sequence[x509.Certificate]) -> None:
    """Its issuer signed it."""
    certificate = x509.load_der_x509_certificate(der)
    certificate.verify_directly_issued_by(named(certificate.issuer, issuers))


def check_crl(der: bytes, issuers: Sequence[x509.Certificate]) -> None:
    """Its issuer signed it."""
    crl = x509.load_der_x509_crl(der)
    verified(named(crl.issuer, issuers).public_key(), crl.signature, crl.tbs_certlist_bytes)


def check_ocsp(der: bytes, issuers: Sequence[x509.Certificate]) -> None:
    """Its responder signed it, and the issuing authority's key the responder's certificate."""
    response = ocsp.load_der_ocsp_response(der)
    candidates = [*response.certificates, *issuers]
    (responder, *_) = [
        one
        for one in candidates
        if one.subject == response.responder_name
        or x509.SubjectKeyIdentifier.from_public_key(one.public_key()).digest
        == response.responder_key_hash
    ]
    verified(responder.public_key(), response.signature, response.tbs_response_bytes)
    responder.verify_directly_issued_by(named(responder.issuer, issuers))
    above = x509.SubjectKeyIdentifier.from_public_key(
        named(responder.issuer, issuers).public_key()
    ).digest
    mine = x509.SubjectKeyIdentifier.from_public_key(responder.public_key()).digest
    assert response.issuer_key_hash in {above, mine}  # a root may speak for itself


def named(name: x509.Name, among: Sequence[x509.Certificate]) -> x509.Certificate:
    """The certificate of this name."""
    return next(one for one in among if one.subject == name)


def signatures(journal: Journal) -> int:
    """How many were delivered, those of tokens included."""
    return sum(
        len(body["hashes"]) * (1 if body["level"] == "B-B" else 2)  # type: ignore[call-overload,index]
        for _, body, _ in journal.answers.values()
    )


def settings(folder: Path, url: str, signers: Path, secret: Path) -> Settings:
    return Settings(
        data_dir=folder / "service",
        database_url=url,
        public_url="http://pki.example.com",
        requests_per_minute=0,
        keystore="pkcs11",
        signer_folder=signers,
        authorisation_key_file=secret,
    )


def replicas(of: Settings) -> Fleet:
    others = {
        "keystore": "pkcs11",
        "signer_folder": str(of.signer_folder),
        "authorisation_key_file": str(of.authorisation_key_file),
    }
    logs = of.data_dir.parent / "logs"
    return Fleet(of.data_dir, of.database_url, REPLICAS, others, logs=logs)


async def serving(fleet: Fleet) -> None:
    """Start the replicas; each answers, or none is left."""
    fleet.start()
    try:
        async with asyncio.timeout(60), httpx2.AsyncClient() as http:
            for index in range(fleet.size):
                while True:
                    with contextlib.suppress(httpx2.HTTPError):
                        if (await http.get(f"{fleet.url(index)}/healthz")).is_success:
                            break
                    await asyncio.sleep(0.05)
    except BaseException:
        fleet.stop()
        raise


@asynccontextmanager
async def calling(
    fleet: Fleet, access: list[Access], journal: Journal, sizes: tuple[int, ...]
) -> AsyncIterator[None]:
    """Clients that sign all the while; at the end each finishes its call."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:  # a client that was told something else ends the test
        for n in range(CALLERS):
            one = client(
                n, fleet, access[n % ACCOUNTS], journal, over, sizes=sizes, patience=WAITING
            )
            group.create_task(one)
        yield
        over.set()


async def all_is_well(of: Settings, fleet: Fleet, journal: Journal, signers: str = "") -> None:
    """Answers as they were, exact books, a whole audit log; no secret in what was said anywhere.

    `signers` is what processes have said that are not replicas.
    """
    assert await changed(fleet, journal.answers) == []
    figures = await fleet.figures()
    fleet.stop()
    async with operator(of, migrate=False) as opened:
        calls = await check_books(opened.database)
        await check_audit(opened.audit, calls)
        await check_secrets(opened, journal.watch, fleet.said() + signers, figures)
    assert len(journal.answers) <= calls <= len(journal.answers) + journal.given_up


async def enough(journal: Journal, calls: int) -> None:
    """Until so many calls were answered."""
    async with asyncio.timeout(60):
        while len(journal.answers) < calls:  # noqa: ASYNC110 - what clients see, not an event
            await asyncio.sleep(0.02)


async def answered(fleet: Fleet, access: list[Access], journal: Journal) -> None:
    """Without anybody's help, every replica answers again at the first attempt."""
    later = Journal(name="later")
    async with calling(fleet, access, later, (1,)):
        await enough(later, 20 * REPLICAS)
    assert not later.failures
    journal.answers |= later.answers


def listener(path: Path) -> int | None:
    """The process that listens on a socket; none if nobody does.

    SoftHSM loses a token when it is killed while it logs in; whoever listens has logged in.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return None
        return int(
            struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        )


async def present(folder: Path) -> list[int]:
    """The signers, as soon as all are there."""
    until = time.monotonic() + 60
    while True:
        found = {pid for path in sockets(folder) if (pid := listener(path))}
        if len(found) == SIGNERS:
            return sorted(found)
        assert time.monotonic() < until, "the signers do not come back"
        await asyncio.sleep(0.02)
