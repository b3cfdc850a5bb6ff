"""Documents signed with another authority's timestamps: recorded, repeated, refused, judged."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import generated_pdfs
import httpx2
import judgement
import pytest
import stamping
from asn1crypto import x509 as asn1_x509
from fetching import LOOPBACK
from pyhanko.keys import load_certs_from_pemder_data
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext
from serving import say, served
from stamping import Root, Tsa

from hashseal.client.http import AsyncClient
from hashseal.client.signing import sign
from hashseal_core import cms, tsp
from hashseal_core.algorithms import Level
from hashseal_core.errors import ConfigurationInvalid
from hashseal_server.main import operator
from hashseal_server.settings import Settings, load

pytestmark = pytest.mark.tools
ROOT = Path(__file__).resolve().parents[4]


class Switched:
    """A timestamp authority that can be told to fail."""

    def __init__(self, tsa: Tsa) -> None:
        self.tsa = tsa
        self.asked = 0
        self.fault: str | None = None
        self._lock = threading.Lock()

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.asked += 1
            number = self.asked
        query = self.tsa.query(handler)
        if self.fault == "away" or (self.fault == "tenth" and number == 10):
            say(handler, 503, b"")
        elif self.fault == "nonce":
            say(handler, 200, self.tsa.reply(stamping.another_nonce(query)))
        else:
            say(handler, 200, self.tsa.reply(query))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


@pytest.fixture
def authority(tmp_path: Path, root: Root) -> Iterator[tuple[Switched, str]]:
    switched = Switched(Tsa(tmp_path / "tsa", root))
    with served(switched) as port:
        yield switched, f"http://127.0.0.1:{port}/tsa"


@pytest.fixture
def other_settings(root: Root, authority: tuple[Switched, str]) -> dict[str, Any]:
    return {
        "timestamp_urls": (authority[1],),
        "timestamp_trust_anchors": root.pem,
        "outbound_networks": LOOPBACK,
    }


def token_of(signature: dict[str, Any]) -> bytes:
    """The token inside the CMS; it is also the one beside it."""
    signed = cms.parse(base64.b64decode(signature["signature"]))
    token = base64.b64decode(signature["timestamp"]["token"])
    assert signed.timestamp_token == token
    tsp.check_token(token, tsp.imprint_of(signed.signature_value))
    return token


def test_a_call_at_b_t_carries_the_token_and_is_repeated_octet_by_octet(
    service, authority: tuple[Switched, str], root: Root, tmp_path: Path
) -> None:
    switched, _ = authority

    async def scenario(api) -> None:
        first = await api.sign("one", "two", level="B-T", key="same")
        assert first.status_code == 200, first.text
        signatures = first.json()["signatures"]
        for signature in signatures:
            token = token_of(signature)
            value = cms.parse(base64.b64decode(signature["signature"])).signature_value
            assert judgement.openssl_ts(token, value, root.pem, tmp_path)
            assert signature["timestamp"]["policy"] == stamping.POLICY
        assert switched.asked == 2
        switched.fault = "away"  # nobody is asked for what is recorded
        assert (await api.sign("one", "two", level="B-T", key="same")).content == first.content
        async with operator(api.operator.settings) as again:
            transport = httpx2.ASGITransport((await again.app()).asgi)
            async with httpx2.AsyncClient(transport=transport, base_url="http://s") as http:
                api.http = http
                assert (await api.sign("one", "two", level="B-T", key="same")).content == (
                    first.content
                )
        assert switched.asked == 2

    service(scenario)


def test_b_b_asks_nobody(service, authority: tuple[Switched, str]) -> None:
    async def scenario(api) -> None:
        assert (await api.sign("one")).status_code == 200

    service(scenario)
    assert authority[0].asked == 0


@pytest.mark.parametrize("fault", ["away", "nonce"])
def test_without_a_token_nothing_is_charged_or_recorded(
    service, authority: tuple[Switched, str], fault: str
) -> None:
    switched, url = authority

    async def scenario(api) -> None:
        before = await api.left()
        switched.fault = fault
        answer = await api.sign("one", level="B-T", key="same")
        assert (answer.status_code, answer.json()["code"]) == (503, "timestamp-unavailable")
        assert answer.headers["retry-after"]
        assert "127.0.0.1" not in answer.text
        assert await api.left() == before
        assert (await api.get("/v1/signatures")).json()["signatures"] == []
        told = [json.loads(line) for line in api.log.getvalue().splitlines()]
        [warning] = [one for one in told if one["event"] == "timestamp-authority"]
        assert warning["host"] == url.split("/")[2]
        assert warning["code"] == ("outbound-failed" if fault == "away" else "timestamp-invalid")
        switched.fault = None
        assert (await api.sign("one", level="B-T", key="same")).status_code == 200
        assert sum(await api.left()) == sum(before) - 1

    service(scenario)


def test_a_batch_is_stamped_whole_or_not_at_all(service, authority: tuple[Switched, str]) -> None:
    switched, _ = authority
    words = [f"document {number}" for number in range(40)]

    async def scenario(api) -> None:
        before = sum(await api.left())
        switched.fault = "tenth"
        answer = await api.sign(*words, level="B-T")
        assert answer.json()["code"] == "timestamp-unavailable"
        assert switched.asked < 40  # the rest were not asked for
        assert sum(await api.left()) == before
        switched.fault = None
        answer = await api.sign(*words, level="B-T")
        assert answer.status_code == 200, answer.text
        tokens = [token_of(one) for one in answer.json()["signatures"]]
        assert len({tsp.parse_token(one).content.serial for one in tokens}) == 40
        assert sum(await api.left()) == before - 40

    service(scenario)


def test_there_is_no_unit_of_its_own(service) -> None:
    async def scenario(api) -> None:
        assert await api.operator.authority.units() == []
        assert await api.operator.check() == []

    service(scenario)


def test_the_published_size_has_room_for_the_largest_token(service) -> None:
    async def scenario(api) -> None:
        shown = (await api.get(f"/v1/seals/{api.seal}")).json()
        assert shown["signature_size"] > 8192
        answer = await api.sign("one", level="B-T")
        made = base64.b64decode(answer.json()["signatures"][0]["signature"])
        assert len(made) < shown["signature_size"]

    service(scenario)


@pytest.mark.parametrize("level", ["B-LT", "B-LTA"])
def test_without_status_data_of_the_unit_a_call_at_b_lt_is_refused(service, level: str) -> None:
    """The test's authority publishes none."""

    async def scenario(api) -> None:
        before = await api.left()
        answer = await api.sign("one", level=level)
        assert (answer.status_code, answer.json()["code"]) == (503, "evidence-unavailable")
        assert await api.left() == before

    service(scenario)


def test_a_signed_file_is_accepted_by_the_judges(
    service, authority: tuple[Switched, str], root: Root, tmp_path: Path
) -> None:
    source, target = tmp_path / "table.pdf", tmp_path / "signed.pdf"
    source.write_bytes(generated_pdfs.generate("table", tmp_path))
    own: list[bytes] = []

    async def scenario(api) -> None:
        own.append(await api.operator.authority.trust_anchor())
        transport = httpx2.ASGITransport(api.app)
        async with AsyncClient("http://service", api.token, transport=transport) as client:
            await client.run(sign(source, target, level=Level.B_T))

    service(scenario)
    [found] = judgement.signatures(target.read_bytes())
    signed = cms.parse(found.signed_data_der)
    assert signed.timestamp_token is not None
    assert judgement.openssl_ts(signed.timestamp_token, signed.signature_value, root.pem, tmp_path)
    assert judgement.pdfsig(target) == [True]
    reader = PdfFileReader(io.BytesIO(target.read_bytes()))
    contexts = [
        ValidationContext(trust_roots=[anchor], allow_fetching=False)
        for anchor in (
            asn1_x509.Certificate.load(own[0]),
            next(iter(load_certs_from_pemder_data(root.pem.read_bytes()))),
        )
    ]
    status = validate_pdf_signature(
        reader.embedded_signatures[0],
        signer_validation_context=contexts[0],
        ts_validation_context=contexts[1],
    )
    assert status.bottom_line
    assert status.timestamp_validity is not None
    assert status.timestamp_validity.trusted


def test_settings_that_do_not_fit_are_named(tmp_path: Path, root: Root) -> None:
    url = "https://tsa.example.com/"
    with pytest.raises(ConfigurationInvalid, match="timestamp_trust_anchors"):
        load(timestamp_urls=(url,))
    with pytest.raises(ConfigurationInvalid, match=r"not in timestamp_urls: https://other"):
        load(
            timestamp_urls=(url,),
            timestamp_trust_anchors=root.pem,
            timestamp_authentication_files={"https://other.example.com/": tmp_path / "secret"},
        )
    assert not load(
        timestamp_urls=(url,),
        timestamp_trust_anchors=root.pem,
        test=False,
        certificate_policy="1.2.3",
    ).test

    async def start(**changes: Any) -> None:
        settings = Settings(
            data_dir=tmp_path / "service",
            **{"timestamp_urls": (url,), "timestamp_trust_anchors": root.pem, **changes},
        )
        async with operator(settings) as opened:
            await opened.initialise()
            await opened.check()

    secret = tmp_path / "secret"
    secret.write_bytes(b"bearer 0815\n")
    faults: list[tuple[dict[str, Any], str]] = [
        ({"timestamp_urls": ("https://user@tsa.example.com/",)}, "user name"),
        ({"timestamp_trust_anchors": tmp_path / "none.pem"}, "no certificates"),
        ({"timestamp_authentication_files": {url: secret}}, "owner only"),
    ]
    for changes, words in faults:
        with pytest.raises(ConfigurationInvalid, match=words):
            asyncio.run(start(**changes))
    secret.chmod(0o600)
    asyncio.run(start(timestamp_authentication_files={url: secret}))


def command(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hashseal_server.cli", *words],
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_settings_of_the_handbook_work_and_each_authority_is_checked(
    tmp_path: Path, root: Root, authority: tuple[Switched, str]
) -> None:
    text = (ROOT / "docs" / "how-to" / "external-timestamps.md").read_text()
    block = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert block is not None
    secret = tmp_path / "tsa.secret"
    secret.write_bytes(b"basic user:password")
    secret.chmod(0o600)
    config = tmp_path / "hashseal.toml"
    config.write_text(
        block[1]
        .replace("/etc/hashseal/timestamp-anchors.pem", str(root.pem))
        .replace("/etc/hashseal/tsa.secret", str(secret))
    )
    settings = {"HASHSEAL_CONFIG": str(config), "HASHSEAL_DATA_DIR": str(tmp_path / "service")}
    shown = command(settings, "check-config", "--json")
    assert shown.returncode == 0, shown.stderr
    assert len(json.loads(shown.stdout)["timestamp_urls"]) == 2

    settings = {
        "HASHSEAL_DATA_DIR": str(tmp_path / "service"),
        "HASHSEAL_TIMESTAMP_URLS": json.dumps([authority[1], "http://127.0.0.1:1/"]),
        "HASHSEAL_TIMESTAMP_TRUST_ANCHORS": str(root.pem),
        "HASHSEAL_OUTBOUND_NETWORKS": '["127.0.0.0/8"]',
    }
    checked = command(settings, "timestamp", "check", "--json")
    assert checked.returncode == 1
    good, away = json.loads(checked.stdout)["authorities"]
    assert good["policy"] == stamping.POLICY
    assert good["unit"] == "CN=Stamping unit"
    assert (away["host"], away["code"]) == ("127.0.0.1:1", "outbound-failed")
    settings["HASHSEAL_TIMESTAMP_URLS"] = json.dumps([authority[1]])
    plain = command(settings, "timestamp", "check")
    assert plain.returncode == 0
    assert stamping.POLICY in plain.stdout
    del settings["HASHSEAL_TIMESTAMP_URLS"]
    none = command(settings, "timestamp", "check", "--json")
    assert (none.returncode, json.loads(none.stdout)["code"]) == (1, "configuration-invalid")
