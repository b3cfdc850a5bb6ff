"""Clients that exist already, unmodified, against the service on a port: RFC 3161 and RFC 6960.

The keys of units, authority and responders are in software, or in SoftHSM2.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import judgement
import pytest
import requests
import rfc3161_client
import rfc3161ng
from asn1crypto import pem
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from forms import ALL_FORMS, IN_TOKEN
from loopback import Loopback, loopback
from pyhanko.sign.timestamps import HTTPTimeStamper
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import RevokedError
from pyhanko_certvalidator.fetchers.requests_fetchers import RequestsFetcherBackend
from tokens import Tokens, end

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.pki.model import LegalPerson

pytestmark = pytest.mark.tools
DATA = b"the octets that get a time"
DIGESTS = ("sha256", "sha384", "sha512")
DIGESTS_FOR_TOKEN = DIGESTS if ALL_FORMS else DIGESTS[:1]
REVOKED = LegalPerson("Revoked Seal", "Test Organisation", "NTRCH-1", "CH")


@dataclass(frozen=True, slots=True)
class Files:
    """The service, and the files that command line tools want."""

    service: Loopback
    folder: Path
    chains: Mapping[str, list[bytes]]

    @property
    def tsa(self) -> str:
        return f"{self.service.url}/tsa"

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def openssl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["openssl", *words], check=False, capture_output=True, text=True, timeout=30
        )


def prepared(service: Loopback, folder: Path) -> Files:
    """A good seal and one that is revoked, with their chains, and the root."""
    operator = service.operator

    async def revoked() -> list[bytes]:
        book = await operator.seals()
        made = await book.create(
            service.account, REVOKED, kind="official", algorithm=KeyAlgorithm.P256
        )
        await book.revoke(service.account, made.id, "keyCompromise")
        return list(made.chain)

    async def good() -> list[bytes]:
        seals = await operator.seal_store.all(service.account)
        return list(next(one for one in seals if one.id == service.seals["P-256"]).chain)

    chains = {"good": service.run(good()), "revoked": service.run(revoked())}
    for name, chain in chains.items():
        (folder / f"{name}.pem").write_bytes(pem.armor("CERTIFICATE", chain[0]))
    (folder / "issuer.pem").write_bytes(pem.armor("CERTIFICATE", chains["good"][1]))
    (folder / "root.pem").write_bytes(pem.armor("CERTIFICATE", service.anchor_der))
    return Files(service, folder, chains)


@pytest.fixture(scope="module")
def files_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Files]]:
    """The services by where their keys are; each is started when it is first asked for."""
    made: dict[str, Files] = {}
    with ExitStack() as stack:

        def started(store: str) -> Files:
            if store in made:
                return made[store]
            folder, settings = tmp_path_factory.mktemp(f"clients-{store}"), {}
            if store == "token":
                tokens = Tokens(folder / "hsm")
                stack.callback(end, tokens.start())
                settings = {
                    "keystore": "pkcs11",
                    "signer_folder": tokens.signers,
                    "authorisation_key_file": tokens.folder / "authorisation-key",
                }
            service = stack.enter_context(loopback(folder / "service", **settings))
            made[store] = prepared(service, folder)
            return made[store]

        yield started


@pytest.fixture
def files(files_of: Callable[[str], Files], store: str) -> Files:
    """The service of the test, and its files."""
    return files_of(store)


ALONE = pytest.mark.xdist_group("clients")
each = pytest.mark.parametrize(
    "store", [pytest.param("software", marks=ALONE), pytest.param("token", marks=IN_TOKEN)]
)
each_digest = pytest.mark.parametrize(
    ("store", "algorithm"),
    [
        *(pytest.param("software", one, marks=ALONE) for one in DIGESTS),
        *(pytest.param("token", one, marks=IN_TOKEN) for one in DIGESTS_FOR_TOKEN),
    ],
)


def posted(url: str, query: bytes) -> bytes:
    request = urllib.request.Request(
        url, data=query, headers={"Content-Type": "application/timestamp-query"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.headers["content-type"] == "application/timestamp-reply"
        return bytes(answer.read())


def is_recent(at: datetime) -> bool:
    return abs(datetime.now(UTC) - at) < timedelta(seconds=60)


@each_digest
def test_openssl_ts(files: Files, store: str, algorithm: str, tmp_path: Path) -> None:
    data, query, reply = tmp_path / "data", tmp_path / "query", tmp_path / "reply"
    data.write_bytes(DATA)
    words = ("ts", "-query", "-data", str(data), f"-{algorithm}", "-cert", "-out", str(query))
    assert files.openssl(*words).returncode == 0
    reply.write_bytes(posted(files.tsa, query.read_bytes()))
    for over in (("-queryfile", str(query)), ("-data", str(data))):
        judged = files.openssl(
            *("ts", "-verify", *over, "-in", str(reply), "-CAfile", files.path("root.pem")),
            *("-untrusted", files.path("issuer.pem")),
        )
        assert "Verification: OK" in judged.stdout, judged.stderr
    data.write_bytes(DATA + b"!")
    judged = files.openssl(
        *("ts", "-verify", "-data", str(data), "-in", str(reply)),
        *("-CAfile", files.path("root.pem"), "-untrusted", files.path("issuer.pem")),
    )
    assert "Verification: OK" not in judged.stdout
    shown = files.openssl("ts", "-reply", "-in", str(reply), "-text").stdout
    assert "Status: Granted." in shown
    assert f"Hash Algorithm: {algorithm}" in shown


@each_digest
def test_rfc3161_client(files: Files, store: str, algorithm: str) -> None:
    kind = getattr(rfc3161_client.HashAlgorithm, algorithm.upper(), None)
    if kind is None:
        assert algorithm == "sha384"  # it makes no such request
        return
    built = rfc3161_client.TimestampRequestBuilder().data(DATA).hash_algorithm(kind)
    query = built.nonce(nonce=True).cert_request(cert_request=True).build()
    response = rfc3161_client.decode_timestamp_response(posted(files.tsa, query.as_bytes()))
    root = x509.load_der_x509_certificate(files.service.anchor_der)
    verifier = rfc3161_client.VerifierBuilder.from_request(query).add_root_certificate(root).build()
    assert verifier.verify(response, hashlib.new(algorithm, DATA).digest())
    with pytest.raises(rfc3161_client.VerificationError):
        verifier.verify(response, hashlib.new(algorithm, b"other").digest())
    assert response.tst_info.nonce == query.nonce
    assert is_recent(response.tst_info.gen_time)


@each_digest
def test_rfc3161ng(files: Files, store: str, algorithm: str) -> None:
    """It asks and reads; its own check knows RSA only, so others judge the token that it got."""
    stamper = rfc3161ng.RemoteTimestamper(
        files.tsa, hashname=algorithm, include_tsa_certificate=True, timeout=20
    )
    nonce = secrets.randbits(63)
    response = stamper(data=DATA, nonce=nonce, return_tsr=True)
    assert int(response.time_stamp_token.tst_info["nonce"]) == nonce
    token = stamper(data=DATA, nonce=nonce)
    assert is_recent(rfc3161ng.get_timestamp(token, naive=False))
    assert judgement.rfc3161(token, DATA, files.service.anchor_der)


@each_digest
def test_pyhanko_timestamper(files: Files, store: str, algorithm: str) -> None:
    async def ask() -> list[bytes]:
        digest = hashlib.new(algorithm, DATA).digest()
        async with aiohttp.ClientSession() as session:
            stamper = HTTPTimeStamper(files.tsa, session=session)
            # It stamps the digest of nothing to learn how long a token is (RFC 3161, 2.1, 7).
            dummy = await stamper.async_dummy_response(algorithm)
            return [one.dump() for one in (dummy, await stamper.async_timestamp(digest, algorithm))]

    dummy, token = asyncio.run(ask())
    assert judgement.rfc3161(token, DATA, files.service.anchor_der)
    assert abs(len(dummy) - len(token)) < 16  # what it reserves for the next one


@each
def test_a_client_is_told_why_it_is_refused(files: Files, store: str, tmp_path: Path) -> None:
    weak = rfc3161ng.make_timestamp_request(data=DATA, hashname="sha1")
    reply = tmp_path / "reply"
    for query, why in (
        (rfc3161ng.encode_timestamp_request(weak), "unrecognized or unsupported algorithm"),
        (b"0\x00", "the data submitted has the wrong format"),
    ):
        reply.write_bytes(posted(files.tsa, query))
        shown = files.openssl("ts", "-reply", "-in", str(reply), "-text").stdout
        assert "Status: Rejected." in shown
        assert f"Failure info: {why}" in shown


@each
@pytest.mark.parametrize(("name", "says"), [("good", "good"), ("revoked", "revoked")])
@pytest.mark.parametrize("nonce", ["-nonce", "-no_nonce"])
@pytest.mark.parametrize("digest", ["-sha1", "-sha256"])
def test_openssl_ocsp(
    files: Files, store: str, name: str, says: str, nonce: str, digest: str
) -> None:
    judged = files.openssl(
        *("ocsp", digest, "-issuer", files.path("issuer.pem"), "-cert", files.path(f"{name}.pem")),
        *("-url", f"{files.service.url}/ocsp", nonce, "-CAfile", files.path("root.pem")),
        *("-verify_other", files.path("issuer.pem"), "-no_cert_checks"),
    )
    said = judged.stdout + judged.stderr
    assert "Response verify OK" in said, said
    assert f"{name}.pem: {says}" in said, said
    assert "nonce" not in said.lower(), said
    assert ("Reason: keyCompromise" in said) == (says == "revoked")


@each
def test_openssl_ocsp_for_a_serial_that_is_nobody_s(files: Files, store: str) -> None:
    judged = files.openssl(
        *("ocsp", "-issuer", files.path("issuer.pem"), "-serial", "0x4711"),
        *("-url", f"{files.service.url}/ocsp", "-CAfile", files.path("root.pem")),
        *("-verify_other", files.path("issuer.pem")),
    )
    said = judged.stdout + judged.stderr
    assert "0x4711: good" not in said
    assert "0x4711: unknown" in said or "unauthorized" in said, said


@each
@pytest.mark.parametrize("name", ["good", "revoked"])
def test_pyhanko_s_validator_asks_where_the_certificate_says(
    files: Files, store: str, name: str
) -> None:
    """It finds OCSP by the certificate's own address, and takes nothing without an answer."""
    leaf, *others = (asn1_x509.Certificate.load(one) for one in files.chains[name])
    root = asn1_x509.Certificate.load(files.service.anchor_der)
    context = ValidationContext(
        trust_roots=[root],
        other_certs=others,
        allow_fetching=True,
        revocation_mode="require",
        fetcher_backend=RequestsFetcherBackend(per_request_timeout=20),
    )
    validator = CertificateValidator(leaf, validation_context=context)
    if name == "revoked":
        with pytest.raises(RevokedError):
            asyncio.run(validator.async_validate_usage({"non_repudiation"}))
        return
    path = asyncio.run(validator.async_validate_usage({"non_repudiation"}))
    assert len(path) == 3
    assert context.ocsps
    assert {one["response_status"].native for one in context.ocsps} == {"successful"}


@each
def test_lists_and_issuers_are_where_the_certificate_says(files: Files, store: str) -> None:
    leaf = x509.load_der_x509_certificate(files.chains["revoked"][0])
    points = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    (name,) = next(iter(points)).full_name
    listed = x509.load_der_x509_crl(requests.get(name.value, timeout=20).content)
    assert listed.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None
    where = {one.access_method.dotted_string: one.access_location.value for one in access}
    issuer = requests.get(where["1.3.6.1.5.5.7.48.2"], timeout=20).content
    assert issuer == files.chains["revoked"][1]
    assert where["1.3.6.1.5.5.7.48.1"] == f"{files.service.url}/ocsp"
