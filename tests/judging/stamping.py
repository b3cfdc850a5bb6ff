"""Timestamp authorities of a test's own on loopback: `openssl ts` behind HTTP, and forgers."""

from __future__ import annotations

import hashlib
import secrets
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from serving import say, served

from hashseal_core import cms
from hashseal_core import tsp as ours
from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)

POLICY = "1.3.6.1.4.1.32473.7.1"
STAMPING = ExtendedKeyUsageOID.TIME_STAMPING
CONFIG = """
[tsa]
default_tsa = one
[one]
dir = {folder}
serial = {folder}/serial
signer_cert = {folder}/unit.pem
certs = {folder}/chain.pem
signer_key = {folder}/unit.key
signer_digest = sha256
default_policy = {policy}
other_policies = {policy}.9
digests = sha256, sha384, sha512
accuracy = secs:1
ordering = no
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = {ess}
"""


class Root:
    """A root, an authority below it, and certificates of units."""

    def __init__(
        self,
        folder: Path,
        name: str = "Stamping",
        *,
        path_length: int = 1,
        lists: str | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(f"{name} root")
        self.certificate = self.issue(self.name, self.key, self.key, self.name, path_length)
        self.lower_key = ec.generate_private_key(ec.SECP256R1())
        self.lower_name = _name(f"{name} authority")
        self.lists = lists
        self.revoked: list[x509.Certificate] = []
        self.lower = self.issue(
            self.lower_name, self.lower_key, self.key, self.name, 0, *self.points("root")
        )
        self.pem = folder / f"{name}-anchors.pem"
        self.pem.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def points(self, issuer: str) -> tuple[tuple[x509.ExtensionType, bool], ...]:
        """Where the issuer's revocation list is, if there are any."""
        if self.lists is None:
            return ()
        place = x509.UniformResourceIdentifier(f"{self.lists}/{issuer}.crl")
        return (
            (
                x509.CRLDistributionPoints([x509.DistributionPoint([place], None, None, None)]),
                False,
            ),
        )

    def crl(self, issuer: str) -> bytes:
        """A fresh revocation list of `root` or `lower`."""
        name, key = (self.name, self.key) if issuer == "root" else (self.lower_name, self.lower_key)
        at = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(name)
            .last_update(at - timedelta(hours=1))
            .next_update(at + timedelta(days=2))
            .add_extension(x509.CRLNumber(7), False)
        )
        for one in self.revoked:
            if one.issuer == name:
                builder = builder.add_revoked_certificate(
                    x509.RevokedCertificateBuilder()
                    .serial_number(one.serial_number)
                    .revocation_date(at - timedelta(hours=2))
                    .build()
                )
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)

    @staticmethod
    def issue(
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        by: ec.EllipticCurvePrivateKey,
        issuer: x509.Name,
        path_length: int | None,
        *more: tuple[x509.ExtensionType, bool],
        days: tuple[float, float] = (-1, 30),
    ) -> x509.Certificate:
        """A certificate; without a path length it is not an authority's."""
        at = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at + timedelta(days=days[0]))
            .not_valid_after(at + timedelta(days=days[1]))
            .add_extension(
                x509.BasicConstraints(ca=path_length is not None, path_length=path_length), True
            )
        )
        for extension, critical in more:
            builder = builder.add_extension(extension, critical)
        return builder.sign(by, hashes.SHA256())

    def unit(
        self,
        *more: tuple[x509.ExtensionType, bool],
        purposes: tuple[x509.ObjectIdentifier, ...] | None = (STAMPING,),
        critical: bool = True,
        days: tuple[float, float] = (-1, 30),
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """A unit below the lower authority, with its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        more = (*more, *self.points("lower"))
        if purposes is not None:
            more = (*more, (x509.ExtendedKeyUsage(purposes), critical))
        made = self.issue(
            _name("Stamping unit"), key, self.lower_key, self.lower_name, None, *more, days=days
        )
        return made, key


@dataclass
class Tsa:
    """One unit; `reply` answers a TimeStampReq by `openssl ts -reply`.

    `shift` is what faketime does to its clock; `ess` the digest of its signing-certificate
    attribute.
    """

    folder: Path
    root: Root
    ess: str = "sha256"
    shift: str | None = None
    days: tuple[float, float] = (-1, 30)
    more: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    heard: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.certificate, self.key = self.root.unit(*self.more, days=self.days)
        files = {
            "unit.pem": self.certificate.public_bytes(Encoding.PEM),
            "chain.pem": self.root.lower.public_bytes(Encoding.PEM),
            "unit.key": self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        }
        for name, content in files.items():
            (self.folder / name).write_bytes(content)

    def reply(self, query: bytes) -> bytes:
        """A TimeStampResp of OpenSSL."""
        work = self.folder / secrets.token_hex(8)
        work.mkdir()
        for name in ("unit.pem", "chain.pem", "unit.key"):
            (work / name).symlink_to(self.folder / name)
        (work / "serial").write_text(secrets.token_hex(16))
        (work / "tsa.cnf").write_text(CONFIG.format(folder=work, policy=POLICY, ess=self.ess))
        (work / "query").write_bytes(query)
        words = ["openssl", "ts", "-reply", "-config", str(work / "tsa.cnf")]
        words += ["-queryfile", str(work / "query"), "-out", str(work / "reply")]
        if self.shift is not None:
            words = ["faketime", "-f", self.shift, *words]
        subprocess.run(words, check=True, capture_output=True, timeout=60)
        return (work / "reply").read_bytes()

    def do(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request as RFC 3161, 3.4 says."""
        say(
            handler,
            200,
            self.reply(self.query(handler)),
            Content_Type="application/timestamp-reply",
        )

    def query(self, handler: BaseHTTPRequestHandler) -> bytes:
        """What was sent; its headers are kept."""
        self.heard.append({name.lower(): value for name, value in handler.headers.items()})
        return handler.rfile.read(int(handler.headers["Content-Length"]))


def answering(
    change: Callable[[bytes], bytes], reply: Callable[[bytes], bytes]
) -> Callable[[BaseHTTPRequestHandler], None]:
    """A server that asks `reply` for something else than it was asked."""

    def do(handler: BaseHTTPRequestHandler) -> None:
        query = handler.rfile.read(int(handler.headers["Content-Length"]))
        say(handler, 200, reply(change(query)), Content_Type="application/timestamp-reply")

    return do


def another_nonce(query: bytes) -> bytes:
    asked = tsp.TimeStampReq.load(query)
    asked["nonce"] = asked["nonce"].native ^ 1
    return asked.dump(force=True)


def no_nonce(query: bytes) -> bytes:
    asked = tsp.TimeStampReq.load(query)
    return tsp.TimeStampReq(
        {"version": "v1", "message_imprint": asked["message_imprint"], "cert_req": True}
    ).dump()


def another_imprint(query: bytes) -> bytes:
    asked = tsp.TimeStampReq.load(query)
    asked["message_imprint"]["hashed_message"] = hashlib.sha256(b"another").digest()
    return asked.dump(force=True)


def without_certificates(query: bytes) -> bytes:
    asked = tsp.TimeStampReq.load(query)
    return tsp.TimeStampReq(
        {"version": "v1", "message_imprint": asked["message_imprint"], "nonce": asked["nonce"]}
    ).dump()


def forged(
    unit: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    *carried: x509.Certificate,
    content_type: str = cms.CONTENT_TST_INFO,
    accuracy_ms: int = 1000,
    break_signature: bool = False,
) -> Callable[[bytes], bytes]:
    """Replies by a unit that OpenSSL would not let sign, or that signs something else."""
    certificate = unit[0].public_bytes(Encoding.DER)

    def reply(query: bytes) -> bytes:
        asked = ours.parse_request(query)
        content = ours.tst_info(
            ours.TokenContent(
                asked.policy or POLICY,
                asked.digest,
                secrets.randbits(128) | 1,
                datetime.now(UTC).replace(microsecond=0),
                accuracy_ms,
                asked.nonce,
            )
        )
        digest = Digest(DigestAlgorithm.SHA256, hashlib.sha256(content).digest())
        attributes = cms.signed_attributes(digest, certificate, content_type=content_type)
        signed = attributes + b"x" if break_signature else attributes
        value = unit[1].sign(signed, ec.ECDSA(hashes.SHA256()))
        token = cms.assemble(
            signature_algorithm=SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256),
            signed_attributes_der=attributes,
            signature_value=value,
            certificates=[certificate, *(one.public_bytes(Encoding.DER) for one in carried)],
            content_type=cms.CONTENT_TST_INFO,
            content=content,
        )
        return ours.granted(token)

    return reply


class Stamping:
    """Timestamp authorities with a web server for lists; each at its own path.

    Those in `away` give no tokens, those in `silent` no lists, those in `hanging` lists after 20 s.
    """

    def __init__(self) -> None:
        self.roots: dict[str, Root] = {}
        self.units: dict[str, Tsa] = {}
        self.queries: list[bytes] = []
        self.away: set[str] = set()
        self.silent: set[str] = set()
        self.hanging: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.port = 0

    def add(self, folder: Path, name: str) -> None:
        """One more authority, whose serial numbers begin anew."""
        lists = f"http://127.0.0.1:{self.port}/{name}"
        self.roots[name] = Root(folder / name, name, lists=lists)
        self.units[name] = Tsa(folder / f"{name}-unit", self.roots[name])

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        _, name, what = handler.path.split("/")
        if what.endswith(".crl") and name in self.silent:
            say(handler, 503, b"")
            return
        if what.endswith(".crl"):
            if name in self.hanging:
                time.sleep(20)
            made = self.roots[name].crl(what.removesuffix(".crl"))
            say(handler, 200, made, Content_Type="application/pkix-crl")
            return
        query = self.units[name].query(handler)
        self.queries.append(query)
        self.asked[name] += 1
        if name in self.away:
            say(handler, 503, b"")
        else:
            say(handler, 200, self.units[name].reply(query))

    def unit(self, name: str) -> bytes:
        return self.units[name].certificate.public_bytes(Encoding.DER)

    @property
    def anchors(self) -> bytes:
        return b"".join(root.pem.read_bytes() for root in self.roots.values())


@contextmanager
def stamping(tsa: Tsa) -> Iterator[str]:
    """The address of this authority while it serves."""
    with served(tsa.do) as port:
        yield f"http://127.0.0.1:{port}/tsa"


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
