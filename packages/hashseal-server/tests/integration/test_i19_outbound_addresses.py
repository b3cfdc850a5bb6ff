"""I19: no connection to an address that a request or file chose; configured ones are checked.

A canary listens on loopback; an audit hook hears every connection that the process begins.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import generated_pdfs
import httpx2
import judgement
import pytest
from addresses import ADDRESSES, FORMS
from canary import WATCH, Canary, canary
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from fetching import LOOPBACK, fetch
from serving import say, served

from hashseal.client.http import AsyncClient
from hashseal.client.signing import sign
from hashseal_core import cms, der, tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm, KeyAlgorithm, Level
from hashseal_core.errors import OutboundFailed, OutboundRefused
from hashseal_server.infra.destination import is_permitted
from hashseal_server.infra.outbound import Answer, require_permitted_form
from hashseal_server.main import operator
from hashseal_server.pki.model import LegalPerson
from hashseal_server.settings import Settings

ONE = ip_network("127.0.0.1/32")


@pytest.fixture
def listening() -> Iterator[Canary]:
    with canary() as made:
        yield made


def test_there_are_enough_forms() -> None:
    assert len({*FORMS, *ADDRESSES}) >= 100


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_parsers_could_read_differently_is_refused(
    form: str, listening: Canary
) -> None:
    url = form.format(port=listening.port)
    with WATCH.watching() as seen:
        with pytest.raises(OutboundRefused):
            require_permitted_form(url)
        with pytest.raises(OutboundRefused):  # allowing loopback does not make it better
            fetch(url, allowed=LOOPBACK)
        assert (seen.connections, seen.names) == ([], [])
    assert listening.connections == []


@pytest.mark.parametrize("form", ADDRESSES)
def test_an_address_that_is_not_public_is_refused(form: str, listening: Canary) -> None:
    url = form.format(port=listening.port)
    require_permitted_form(url)
    with WATCH.watching() as seen:
        with pytest.raises(OutboundRefused, match="outbound_networks"):
            fetch(url)
        assert seen.connections == []
    assert listening.connections == []


@pytest.mark.parametrize(
    "name",
    ["0.0.0.0", "224.0.0.1", "255.255.255.255", "[::]", "[ff02::1]"],
)
def test_some_addresses_cannot_be_allowed(name: str) -> None:
    everything = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    with WATCH.watching() as seen:
        with pytest.raises(OutboundRefused):
            fetch(f"http://{name}:9/", allowed=everything)
        assert seen.connections == []


@pytest.mark.parametrize("host", ["[::ffff:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[::127.0.0.1]"])
def test_allowing_an_ipv4_network_does_not_allow_what_stands_for_it(
    host: str, listening: Canary
) -> None:
    with pytest.raises(OutboundRefused):
        fetch(f"http://{host}:{listening.port}/", allowed=LOOPBACK)
    assert listening.connections == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_an_allowed_network_is_called(host: str, listening: Canary) -> None:
    answer = fetch(f"http://{host}:{listening.port}/", allowed=LOOPBACK)
    assert answer == Answer(200, None, b"canary")
    assert len(listening.connections) == 1


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "192.0.1.1", "198.20.0.1",
        "2606:4700:4700::1111", "2001:4860:4860::8888",
    ],
)  # fmt: skip
def test_public_addresses_are_not_refused(address: str) -> None:
    """The rule alone; nothing is called."""
    assert is_permitted(ip_address(address), ())


class Resolver:
    """Another answer each time; the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_a_name_is_resolved_once_and_pinned(listening: Canary) -> None:
    """What the name means a moment later (DNS rebinding) is never asked."""
    resolver = Resolver(["127.0.0.1"], ["127.0.0.2"])
    url = f"http://tsa.example.com:{listening.port}/"
    with WATCH.watching() as seen:
        fetch(url, allowed=[ONE], resolve=resolver)
        assert seen.connections == [("127.0.0.1", listening.port)]
        assert seen.names == []
    assert resolver.asked == ["tsa.example.com"]
    assert listening.connections == ["127.0.0.1"]
    with pytest.raises(OutboundRefused, match=r"127\.0\.0\.2"):  # the next one is checked again
        fetch(url, allowed=[ONE], resolve=resolver)
    assert listening.connections == ["127.0.0.1"]


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1", "127.0.0.2"],
        ["127.0.0.1", "10.0.0.1"],
        ["127.0.0.1", "::ffff:127.0.0.1"],
        ["127.0.0.1", "169.254.169.254"],
        ["127.0.0.1", "fe80::1%lo"],
    ],
)
def test_every_address_of_a_name_is_checked(addresses: list[str], listening: Canary) -> None:
    with WATCH.watching() as seen:
        with pytest.raises(OutboundRefused):
            fetch(
                f"http://tsa.example.com:{listening.port}/",
                allowed=[ONE],
                resolve=Resolver(addresses),
            )
        assert seen.connections == []


def test_the_next_address_of_a_name_is_tried(listening: Canary) -> None:
    answer = fetch(
        f"http://tsa.example.com:{listening.port}/",
        allowed=LOOPBACK,
        resolve=Resolver(["127.0.0.3", "127.0.0.1"]),
    )
    assert answer.body == b"canary"


@pytest.mark.parametrize("addresses", [[], ["127.0.0.3"]])
def test_a_name_without_a_listener_fails(addresses: list[str], listening: Canary) -> None:
    with pytest.raises(OutboundFailed, match="cannot be reached"):
        fetch(
            f"http://tsa.example.com:{listening.port}/",
            allowed=LOOPBACK,
            resolve=Resolver(addresses),
        )


def test_a_name_that_does_not_exist_fails() -> None:
    with pytest.raises(OutboundFailed, match="cannot be reached"):
        fetch("http://no-such-name.invalid/")


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, listening: Canary) -> None:
    elsewhere = f"http://127.0.0.1:{listening.port}/"
    with served(lambda handler: say(handler, status, b"", Location=elsewhere)) as port:  # noqa: SIM117
        with pytest.raises(OutboundFailed, match=str(status)):
            fetch(f"http://127.0.0.1:{port}/", allowed=LOOPBACK)
    assert listening.connections == []


def test_variables_for_proxies_mean_nothing(
    listening: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listening.port}")
        monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{listening.port}")
    with served(lambda handler: say(handler, 200, b"direct")) as port:
        answer = fetch(f"http://127.0.0.1:{port}/", allowed=LOOPBACK)
    assert answer.body == b"direct"
    assert listening.connections == []


def test_no_request_to_the_service_chooses_an_address(service, listening: Canary) -> None:
    """Addresses in every field, header and protocol message; loopback is allowed on purpose."""
    url = f"http://127.0.0.1:{listening.port}/"
    digest = Digest(DigestAlgorithm.SHA256, b"\x01" * 32)
    hash_text = base64.b64encode(digest.value).decode()

    async def scenario(api) -> None:
        signing = {"seal_id": api.seal, "level": "B-LT", "hashes": [hash_text]}
        stamping = {"hash": hash_text, "signature_id": "x" * 34}
        collecting = {"serials": ["1"]}
        for path, body in (
            ("/v1/documents/sign", signing),
            ("/v1/timestamps", stamping),
            ("/v1/validation", collecting),
        ):
            for field in body:
                for value in (url, [url], {"url": url}):
                    answer = await api.post(path, {**body, field: value})
                    assert answer.status_code in {400, 404}
            for field in ("url", "callback", "webhook", "tsa", "timestamp_url", "document_url"):
                assert (await api.post(path, {**body, field: url})).status_code == 400
        for name in ("host", "referer", "origin", "forwarded", "x-forwarded-host", "link",
                     "traceparent", "callback", "x-original-url", "location"):  # fmt: skip
            sent = {name.replace("-", "_"): url}
            assert (await api.post("/v1/documents/sign", signing, **sent)).status_code == 200
        for path in (url, f"/{url}", f"/ocsp/{url}", f"/crl/{url}", f"/v1/seals/{url}"):
            await api.get(path if path.startswith("/") else f"/?url={path}")
        await api.http.post(
            "/ocsp",
            content=ocsp_with_locator(
                await api.operator.authority.issuer_certificate("issuing"), url
            ),
            headers={"content-type": "application/ocsp-request"},
        )
        plain = tsp.build_request(digest)
        extended = der.sequence(
            der.only(plain).content
            + der.encode(0xA0, der.sequence(der.oid("1.2.3"), der.octet_string(url.encode())))
        )
        await api.http.post(
            "/tsa", content=extended, headers={"content-type": "application/timestamp-query"}
        )
        assert (await api.sign("still there", level="B-LT")).status_code == 200

    service(scenario)
    assert listening.connections == []


def ocsp_with_locator(issuer_der: bytes, url: str) -> bytes:
    """An OCSP request with a serviceLocator, which names another responder (RFC 6960, 4.4.6)."""
    issuer = x509.load_der_x509_certificate(issuer_der)
    uri = der.encode(0x86, url.encode())
    locator = der.sequence(
        issuer.subject.public_bytes(),
        der.sequence(der.sequence(der.oid("1.3.6.1.5.5.7.48.1"), uri)),
    )
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        b"\x01" * 20, b"\x02" * 20, 7, hashes.SHA1()
    )
    kind = x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.7")
    return builder.add_extension(
        x509.UnrecognizedExtension(kind, locator), critical=False
    ).build().public_bytes(Encoding.DER)  # fmt: skip


@pytest.fixture
def other_settings() -> dict[str, Any]:
    return {"outbound_networks": LOOPBACK}


def test_no_file_chooses_an_address(tmp_path: Path, listening: Canary) -> None:
    """A signature whose certificates name the canary for OCSP, CRLs and issuers is judged."""
    source, anchor = tmp_path / "table.pdf", tmp_path / "root.pem"
    source.write_bytes(generated_pdfs.generate("table", tmp_path))
    url = f"http://127.0.0.1:{listening.port}"

    async def make() -> None:
        async with operator(Settings(data_dir=tmp_path / "service", public_url=url)) as opened:
            await opened.initialise()
            account = await opened.accounts.create("Test Organisation")
            token = await opened.accounts.create_token(account.id)
            subject = LegalPerson("Test Seal", "Test Organisation", "NTRCH-1", "CH")
            await (await opened.seals()).create(
                account.id, subject, kind="official", algorithm=KeyAlgorithm.P256
            )
            root = x509.load_der_x509_certificate(await opened.authority.trust_anchor())
            anchor.write_bytes(root.public_bytes(Encoding.PEM))
            transport = httpx2.ASGITransport((await opened.app()).asgi)
            async with AsyncClient("http://service", token.text, transport=transport) as client:
                for level in (Level.B_T, Level.B_LT):
                    await client.run(sign(source, tmp_path / f"{level}.pdf", level=level))

    asyncio.run(make())
    for level in ("B-T", "B-LT"):
        path = tmp_path / f"{level}.pdf"
        signer = cms.parse(judgement.signatures(path.read_bytes())[0].signed_data_der)
        assert signer.signing_certificate.count(url.encode()) == 3  # OCSP, issuer, CRL
        outcome = subprocess.run(
            [sys.executable, "-m", "hashseal.cli", "verify", path, "--trust-anchor", anchor, "--json"],
            check=False, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        [signature] = json.loads(outcome.stdout)["signatures"]
        assert signature["integrity"]
        assert signature["revocation"] == ("checked" if level == "B-LT" else "not checked")
    assert listening.connections == []
