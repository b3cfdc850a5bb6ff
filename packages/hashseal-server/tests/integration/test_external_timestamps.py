"""Tokens of other authorities: `openssl ts` is asked over HTTP, and each way to fail is tried."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import judgement
import pytest
import stamping
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from fetching import LOOPBACK
from serving import say, served
from stamping import POLICY, Root, Tsa
from tls import Authority

from hashseal_core import der, tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import (
    CmsInvalid,
    ConfigurationInvalid,
    DerInvalid,
    FaultySignature,
    HashsealError,
    OutboundFailed,
    OutboundRefused,
    TimestampInvalid,
    TimestampUnavailable,
)
from hashseal_server.infra.outbound import Outbound
from hashseal_server.tsa.external import (
    TOKEN_SIZE_BOUND,
    ExternalTimestamps,
    RemoteAuthority,
    Trust,
    authorization,
)
from hashseal_server.tsa.path import read_anchors
from hashseal_server.tsa.token import MadeToken

OVER = b"a signature value"
DIGEST = Digest(DigestAlgorithm.SHA256, hashlib.sha256(OVER).digest())
Do = Callable[[BaseHTTPRequestHandler], None]

pytestmark = pytest.mark.tools


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


@pytest.fixture
def tsa(tmp_path: Path, root: Root) -> Tsa:
    return Tsa(tmp_path / "tsa", root)


class Attempt:
    """What came of one token asked for: the token, or None and who failed with what."""

    def __init__(self, root: Root, *urls: str, policy: str | None = None, **settings: Any) -> None:
        self.failures: list[tuple[str, HashsealError]] = []
        self.root, self.urls, self.policy, self.settings = root, urls, policy, settings

    def issue(self, count: int = 1, digest: Digest = DIGEST) -> MadeToken:
        return asyncio.run(self._issue(count, digest))

    async def _issue(self, count: int, digest: Digest) -> MadeToken:
        settings = {"allowed": LOOPBACK, **self.settings}
        outbound = Outbound(**settings)
        external = ExternalTimestamps(
            [RemoteAuthority(url) for url in self.urls],
            Trust(read_anchors(self.root.pem, "anchors"), self.policy),
            outbound,
            now=lambda: datetime.now(UTC),
            failed=lambda name, error: self.failures.append((name, error)),
        )
        try:
            for _ in range(count):
                token = await external.issue(digest)
            chain = external.chain_of(token.tsu_certificate)
            assert chain is not None
            assert chain[0] == token.tsu_certificate
            return token
        finally:
            await outbound.close()


def refusal(root: Root, do: Do, **settings: Any) -> HashsealError:
    """Why the answer of this server cannot be used."""
    with served(do) as port:
        attempt = Attempt(root, f"http://127.0.0.1:{port}/", **settings)
        with pytest.raises(TimestampUnavailable):
            attempt.issue()
    [(name, error)] = attempt.failures
    assert name == f"127.0.0.1:{port}"
    return error


@pytest.mark.parametrize("ess", ["sha1", "sha256", "sha512"])
def test_a_token_of_openssl_is_taken(tmp_path: Path, root: Root, ess: str) -> None:
    tsa = Tsa(tmp_path / "tsa", root, ess=ess)
    with stamping.stamping(tsa) as url:
        token = Attempt(root, url).issue()
    assert token.parts is None
    assert token.content.digest == DIGEST
    assert token.content.policy == POLICY
    assert token.tsu_certificate == tsa.certificate.public_bytes(Encoding.DER)
    assert judgement.openssl_ts(token.der, OVER, root.pem, tmp_path)
    sent = tsa.heard[0]
    assert sent["content-type"] == "application/timestamp-query"
    assert sent["accept"] == "application/timestamp-reply"
    assert "authorization" not in sent


def test_what_is_asked_for_has_a_new_nonce_and_wants_the_certificate(root: Root, tsa: Tsa) -> None:
    queries: list[bytes] = []

    def do(handler: BaseHTTPRequestHandler) -> None:
        queries.append(tsa.query(handler))
        say(handler, 200, tsa.reply(queries[-1]))

    with served(do) as port:
        Attempt(root, f"http://127.0.0.1:{port}/").issue(4)
    asked = [tsp.parse_request(query) for query in queries]
    assert len({one.nonce for one in asked}) == 4
    assert max(one.nonce.bit_length() for one in asked if one.nonce) > 56
    assert all(one.certificate_wanted and one.digest == DIGEST for one in asked)


def test_the_policy_that_is_set_is_asked_for_and_must_be_stated(root: Root, tsa: Tsa) -> None:
    with stamping.stamping(tsa) as url:
        assert Attempt(root, url, policy=f"{POLICY}.9").issue().content.policy == f"{POLICY}.9"
        strange = Attempt(root, url, policy="1.2.3")
        with pytest.raises(TimestampUnavailable):
            strange.issue()
    assert isinstance(strange.failures[0][1], TimestampUnavailable)  # OpenSSL refuses it

    def ignore(query: bytes) -> bytes:
        asked = tsp.parse_request(query)
        return tsp.build_request(asked.digest, nonce=asked.nonce)

    error = refusal(root, stamping.answering(ignore, tsa.reply), policy=f"{POLICY}.9")
    assert isinstance(error, TimestampInvalid)
    assert "policy" in error.detail


FAULTS = {
    "another nonce": (stamping.another_nonce, TimestampInvalid, "another request"),
    "no nonce": (stamping.no_nonce, TimestampInvalid, "another request"),
    "another imprint": (stamping.another_imprint, TimestampInvalid, "another digest"),
    "no certificate": (stamping.without_certificates, CmsInvalid, "not among"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_to_something_else_is_refused(root: Root, tsa: Tsa, fault: str) -> None:
    change, kind, words = FAULTS[fault]
    error = refusal(root, stamping.answering(change, tsa.reply))
    assert type(error) is kind
    assert words in error.detail


def test_an_earlier_answer_is_refused(root: Root, tsa: Tsa) -> None:
    earlier = tsa.reply(tsp.build_request(DIGEST, nonce=1))
    error = refusal(root, stamping.answering(lambda query: query, lambda _query: earlier))
    assert "another request" in error.detail


@pytest.mark.parametrize("shift", ["-1h", "+1h", "+75s", "-75s"])
def test_a_time_that_is_not_ours_is_refused(tmp_path: Path, root: Root, shift: str) -> None:
    tsa = Tsa(tmp_path / "off", root, shift=shift)
    error = refusal(root, tsa.do)
    assert type(error) is TimestampInvalid
    assert "from the time of this service" in error.detail


def test_a_few_seconds_are_tolerated(tmp_path: Path, root: Root) -> None:
    for shift in ("-20s", "+20s"):
        with stamping.stamping(Tsa(tmp_path / shift, root, shift=shift)) as url:
            Attempt(root, url).issue()


@pytest.mark.parametrize("days", [(-3, -1), (1, 3)])
def test_a_unit_outside_its_validity_is_refused(
    tmp_path: Path, root: Root, days: tuple[float, float]
) -> None:
    error = refusal(root, Tsa(tmp_path / "expired", root, days=days).do)
    assert type(error) is TimestampInvalid
    assert "validity" in error.detail


def test_a_stranger_is_refused(tmp_path: Path, root: Root) -> None:
    """A unit of another root, and one of a root with the same name and another key."""
    for name in ("Other", "Stamping"):
        strange = Root(tmp_path / name, name)
        error = refusal(root, Tsa(tmp_path / f"unit-{name}", strange).do)
        assert type(error) is TimestampInvalid
        assert "trust anchors" in error.detail


PURPOSES: dict[str, dict[str, Any]] = {
    "none": {"purposes": None},
    "another": {"purposes": (ExtendedKeyUsageOID.CODE_SIGNING,)},
    "one more": {"purposes": (stamping.STAMPING, ExtendedKeyUsageOID.CODE_SIGNING)},
    "not critical": {"critical": False},
}


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_unit_that_is_not_for_timestamps_alone_is_refused(root: Root, purpose: str) -> None:
    unit = root.unit(**PURPOSES[purpose])
    error = refusal(root, stamping.answering(lambda one: one, stamping.forged(unit, root.lower)))
    assert type(error) is TimestampInvalid
    assert "extendedKeyUsage" in error.detail or "sole critical purpose" in error.detail


def test_a_certificate_of_the_chain_that_may_not_issue_is_refused(
    tmp_path: Path, root: Root
) -> None:
    unit, key = root.unit()
    name, own = unit.subject, stamping.ec.generate_private_key(stamping.ec.SECP256R1())
    stamping_only = (x509.ExtendedKeyUsage([stamping.STAMPING]), True)
    below = Root.issue(x509.Name([]), own, key, name, None, stamping_only)
    reply = stamping.forged((below, own), unit, root.lower)
    error = refusal(root, stamping.answering(lambda one: one, reply))
    assert "may not issue" in error.detail

    narrow = Root(tmp_path / "narrow", path_length=0)
    error = refusal(narrow, Tsa(tmp_path / "narrow-unit", narrow).do)
    assert "may not issue" in error.detail


def test_what_is_not_understood_in_a_chain_is_refused(tmp_path: Path, root: Root) -> None:
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    reply = stamping.forged(root.unit((strange, True)), root.lower)
    error = refusal(root, stamping.answering(lambda one: one, reply))
    assert "unknown critical extension" in error.detail
    usage = x509.KeyUsage(*([False] * 2), True, *([False] * 6))  # type: ignore[misc]
    reply = stamping.forged(root.unit((usage, True)), root.lower)
    error = refusal(root, stamping.answering(lambda one: one, reply))
    assert "not for signatures" in error.detail


def test_the_unit_itself_may_be_the_anchor(root: Root, tsa: Tsa) -> None:
    root.pem.write_bytes(tsa.certificate.public_bytes(Encoding.PEM))
    with stamping.stamping(tsa) as url:
        Attempt(root, url).issue()


def test_a_chain_goes_on_among_the_anchors(root: Root, tsa: Tsa) -> None:
    """The file may hold the authority that the token leaves out, and its root."""
    files = [root.lower, root.certificate]
    root.pem.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in files))
    (tsa.folder / "chain.pem").write_bytes((tsa.folder / "unit.pem").read_bytes())
    reply = stamping.forged((tsa.certificate, tsa.key))
    with served(stamping.answering(lambda one: one, reply)) as port:
        token = Attempt(root, f"http://127.0.0.1:{port}/").issue()
    assert token.content.digest == DIGEST


@pytest.mark.parametrize(
    ("forgery", "kind", "words"),
    [
        ({"break_signature": True}, FaultySignature, "does not verify"),
        ({"content_type": "1.2.840.113549.1.7.1"}, TimestampInvalid, "not what was signed"),
        ({"accuracy_ms": 3_600_000}, TimestampInvalid, "accuracy"),
    ],
)
def test_a_forgery_is_refused(
    root: Root, forgery: dict[str, Any], kind: type[HashsealError], words: str
) -> None:
    reply = stamping.forged(root.unit(), root.lower, **forgery)
    error = refusal(root, stamping.answering(lambda one: one, reply))
    assert type(error) is kind
    assert words in error.detail


def test_more_certificates_than_a_token_needs_are_refused(root: Root) -> None:
    others = [Root.issue(x509.Name([]), root.key, root.key, x509.Name([]), None) for _ in range(16)]
    reply = stamping.forged(root.unit(), root.lower, *others)
    error = refusal(root, stamping.answering(lambda one: one, reply))
    assert "16 certificates" in error.detail


GRANTED = der.sequence(der.sequence(der.integer(0)), der.sequence(der.octet_string(b"junk")))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", DerInvalid),
        (b"<html>Sign in to the network</html>", DerInvalid),
        (GRANTED, DerInvalid),
        (GRANTED + b"\x00", DerInvalid),
        (der.sequence(der.sequence(der.integer(0))), DerInvalid),
        (tsp.refused(2, "no"), TimestampUnavailable),
        (b"\x30\x82\x40\x00" + bytes(0x4000), OutboundFailed),
        (b"\x30\x80" + GRANTED + b"\x00\x00", DerInvalid),
    ],
)
def test_what_is_no_token_is_refused(root: Root, body: bytes, kind: type[HashsealError]) -> None:
    error = refusal(root, lambda handler: say(handler, 200, body))
    assert type(error) is kind


@pytest.mark.parametrize("status", [301, 307, 401, 404, 500, 503])
def test_what_is_not_200_is_refused(root: Root, tsa: Tsa, status: int) -> None:
    with stamping.stamping(tsa) as good:
        error = refusal(root, lambda handler: say(handler, status, b"", Location=good))
    assert type(error) is OutboundFailed
    assert str(status) in error.detail
    assert tsa.heard == []


def test_a_large_token_is_refused(root: Root) -> None:
    """Within what is read at all, and beyond what clients have room for."""

    def padded(octets: int) -> Callable[[bytes], bytes]:
        more = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(octets))
        return stamping.forged(root.unit((more, False)), root.lower)

    usual = len(padded(2000)(tsp.build_request(DIGEST, nonce=1 << 63))) - 2000
    reply = padded(TOKEN_SIZE_BOUND + 200 - usual)
    error = refusal(root, stamping.answering(lambda one: one, reply))
    assert str(TOKEN_SIZE_BOUND) in error.detail


def test_who_is_away_is_passed_over_and_asked_last_for_a_while(root: Root, tsa: Tsa) -> None:
    slow: list[float] = []

    def hang(_handler: BaseHTTPRequestHandler) -> None:
        slow.append(time.monotonic())
        time.sleep(20)

    with served(hang) as port, stamping.stamping(tsa) as url:
        away = f"http://127.0.0.1:{port}/"
        attempt = Attempt(root, away, "http://127.0.0.1:1/", url, total_seconds=3)
        attempt.issue(5)
    assert len(slow) == 1  # four more calls did not wait for it
    assert [name for name, _ in attempt.failures] == [f"127.0.0.1:{port}", "127.0.0.1:1"]
    assert len(tsa.heard) == 5


def test_when_all_are_away_each_is_asked_once_more(root: Root) -> None:
    attempt = Attempt(root, "http://127.0.0.1:1/", "http://127.0.0.1:2/")
    for _ in range(2):
        with pytest.raises(TimestampUnavailable, match="no timestamp authority"):
            attempt.issue()
    assert len(attempt.failures) == 4


def test_an_address_that_is_not_allowed_is_not_called(root: Root, tsa: Tsa) -> None:
    with stamping.stamping(tsa) as url:
        attempt = Attempt(root, url, allowed=())
        with pytest.raises(TimestampUnavailable):
            attempt.issue()
    assert type(attempt.failures[0][1]) is OutboundRefused
    assert tsa.heard == []


@pytest.mark.parametrize(
    ("secret", "header"),
    [
        (b"basic stamp:pass word", "Basic c3RhbXA6cGFzcyB3b3Jk"),
        (b"Basic stamp:", "Basic c3RhbXA6"),
        (b"bearer abc.def", "Bearer abc.def"),
        (b"BEARER  abc", "Bearer abc"),
    ],
)
def test_a_secret_becomes_a_header(secret: bytes, header: str) -> None:
    assert authorization(secret) == header


@pytest.mark.parametrize(
    "secret",
    [b"", b"secret", b"basic user", b"basic :pass", b"bearer", b"bearer a b", b"digest a:b"],
)
def test_another_secret_is_a_fault_of_configuration(secret: bytes) -> None:
    with pytest.raises(ConfigurationInvalid, match="basic user:password"):
        authorization(secret)


def test_a_secret_travels_over_tls_only(tmp_path: Path, root: Root, tsa: Tsa) -> None:
    with pytest.raises(ConfigurationInvalid, match="https"):
        RemoteAuthority("http://tsa.example.com/", "Bearer abc")
    authority = Authority(tmp_path)

    async def ask(port: int) -> None:
        outbound = Outbound(
            allowed=LOOPBACK, roots=authority.root, resolve=lambda _host: ["127.0.0.1"]
        )
        external = ExternalTimestamps(
            [RemoteAuthority(f"https://tsa.example.com:{port}/", "Bearer abc")],
            Trust(read_anchors(root.pem, "anchors")),
            outbound,
            now=lambda: datetime.now(UTC),
        )
        await external.issue(DIGEST)
        await outbound.close()

    with served(tsa.do, authority.serving("tsa.example.com")) as port:
        asyncio.run(ask(port))
    assert tsa.heard[0]["authorization"] == "Bearer abc"


@pytest.mark.parametrize(
    "content",
    [None, b"", b"junk", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"],
)
def test_anchors_that_cannot_be_read_are_a_fault_of_configuration(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "anchors.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationInvalid, match="no certificates"):
        read_anchors(path, "timestamp_trust_anchors")
