"""Files kept verifiable with another authority's timestamps: `/tsa` relays, and only for accounts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import generated_pdfs
import httpx2
import judgement
import pytest
import stamping
from asn1crypto import core as asn1_core
from asn1crypto import tsp as asn1_tsp
from cryptography import x509
from fetching import LOOPBACK
from serving import served
from stamping import Root, Stamping, Tsa

from hashseal.client.extending import Extension, extend
from hashseal.client.http import AsyncClient
from hashseal.client.signing import sign
from hashseal_core import tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm, Level
from hashseal_core.errors import EvidenceUnavailable, TimestampUnavailable
from hashseal_server.main import operator
from hashseal_server.pki.foreign_store import ForeignStore, digest_of
from hashseal_server.seals.store import chains_of

pytestmark = pytest.mark.tools
QUERY = {"content-type": "application/timestamp-query"}
DIGEST = Digest(DigestAlgorithm.SHA256, bytes(range(32)))


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stamping]:
    made = Stamping()
    with served(made) as made.port:
        for name in ("first", "second"):
            with monkeypatch.context() as patched:
                numbers = itertools.count(101)
                patched.setattr(x509, "random_serial_number", lambda: next(numbers))  # noqa: B023
                made.add(tmp_path, name)
        yield made


@pytest.fixture
def other_settings(tmp_path: Path, outside: Stamping) -> dict[str, Any]:
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes(outside.anchors)
    return {
        "timestamp_urls": tuple(
            f"http://127.0.0.1:{outside.port}/{name}/tsa" for name in outside.units
        ),
        "timestamp_trust_anchors": anchors,
        "outbound_networks": LOOPBACK,
    }


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "table.pdf"
    path.write_bytes(generated_pdfs.generate("table", tmp_path))
    return path


def client_of(app: Any, token: str) -> AsyncClient:
    return AsyncClient("http://service", token, transport=httpx2.ASGITransport(app))


def judged(path: Path, outside: Stamping, own: bytes, folder: Path) -> list[bool]:
    """pyHanko's verdicts offline, against the roots of both sides."""
    document = path.read_bytes()
    bundle = judgement.write_pem(own, folder / "own.pem").read_bytes() + outside.anchors
    return judgement.pyhanko(document, bundle, judgement.dss(document))


@pytest.mark.parametrize("level", [Level.B_LT, Level.B_LTA])
def test_a_file_is_extended_twice_by_processes_that_did_not_sign_it(
    service, outside: Stamping, plain: Path, tmp_path: Path, level: Level
) -> None:
    files = [tmp_path / f"{number}.pdf" for number in range(3)]
    own: list[bytes] = []

    async def scenario(api) -> None:
        own.append(await api.operator.authority.trust_anchor())
        async with client_of(api.app, api.token) as client:
            await client.run(sign(plain, files[0], level=level))
        before = await api.left()
        for source, target in itertools.pairwise(files):
            # One process relays, another that never saw the unit gives the evidence.
            settings = api.operator.settings
            async with operator(settings) as stamps, operator(settings) as proves:
                relaying = httpx2.ASGITransport((await stamps.app()).asgi)
                proving = httpx2.ASGITransport((await proves.app()).asgi)
                split = ByPath(relaying, proving)
                async with AsyncClient("http://service", api.token, transport=split) as client:
                    done = await client.run(extend(source, target))
            assert isinstance(done, Extension)
            assert done.without_evidence == ()
        assert await api.left() == before  # extending is free

    service(scenario)
    stamps = 2 + (level is Level.B_LTA)
    assert judged(files[2], outside, own[0], tmp_path) == [True] * (1 + stamps)
    assert judgement.pdfsig(files[2]) == [True]
    for shorter, longer in itertools.pairwise(files):
        assert longer.read_bytes().startswith(shorter.read_bytes())
    found = [one for one in judgement.signatures(files[2].read_bytes()) if one.is_timestamp]
    assert len(found) == stamps
    for one in found:
        assert tsp.parse_token(one.signed_data_der).signing_certificate == outside.unit("first")
        anchor = outside.roots["first"].pem
        assert judgement.openssl_ts(one.signed_data_der, one.signed_bytes, anchor, tmp_path)


class ByPath(httpx2.AsyncBaseTransport):
    """What `/tsa` and the rest of the API are behind one address: processes of different roles."""

    def __init__(self, tsa: httpx2.ASGITransport, rest: httpx2.ASGITransport) -> None:
        self.tsa, self.rest = tsa, rest

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        chosen = self.tsa if request.url.path == "/tsa" else self.rest
        return await chosen.handle_async_request(request)


def test_units_of_two_authorities_with_one_serial_number(
    service, outside: Stamping, plain: Path, tmp_path: Path
) -> None:
    assert len({one.certificate.serial_number for one in outside.units.values()}) == 1
    signed, extended = tmp_path / "signed.pdf", tmp_path / "extended.pdf"
    own: list[bytes] = []

    async def scenario(api) -> None:
        own.append(await api.operator.authority.trust_anchor())
        async with client_of(api.app, api.token) as client:
            await client.run(sign(plain, signed, level=Level.B_LT))
            outside.away.add("first")
            await client.run(extend(signed, extended))

    service(scenario)
    assert judged(extended, outside, own[0], tmp_path) == [True, True]
    held = judgement.dss(extended.read_bytes()).certificates
    assert {outside.unit("first"), outside.unit("second")} <= {*held}


def test_when_no_authority_answers_the_file_stays_as_it_is(
    service, outside: Stamping, plain: Path, tmp_path: Path
) -> None:
    signed, target = tmp_path / "signed.pdf", tmp_path / "extended.pdf"

    async def scenario(api) -> None:
        async with client_of(api.app, api.token) as client:
            await client.run(sign(plain, signed, level=Level.B_LT))
            before, names = signed.read_bytes(), sorted(tmp_path.iterdir())
            outside.away |= {"first", "second"}
            with pytest.raises(TimestampUnavailable):
                await client.run(extend(signed, target))
            assert signed.read_bytes() == before
            assert sorted(tmp_path.iterdir()) == names
            target.write_bytes(b"another file")
            with pytest.raises(TimestampUnavailable):
                await client.run(extend(signed, target, overwrite=True))
            assert target.read_bytes() == b"another file"
            target.unlink()
            outside.away.clear()
            await client.run(extend(signed, target))

    service(scenario)


def test_a_unit_that_its_authority_revoked_extends_nothing(
    service, outside: Stamping, plain: Path, tmp_path: Path
) -> None:
    signed, target = tmp_path / "signed.pdf", tmp_path / "extended.pdf"

    async def scenario(api) -> None:
        async with client_of(api.app, api.token) as client:
            await client.run(sign(plain, signed, level=Level.B_LT))
            store = ForeignStore(api.operator.database, chains_of)
            unit = digest_of(outside.unit("first"))
            assert await store.revoke(unit, "keyCompromise", datetime.now(UTC), by="authority")
            with pytest.raises(EvidenceUnavailable):
                await client.run(extend(signed, target))
            assert not target.exists()
            outside.away.add("first")
            done = await client.run(extend(signed, target))
            assert [reason for _, reason in done.without_evidence] == ["revoked"]

    service(scenario)


def test_nobody_without_an_account_has_a_token(service, outside: Stamping) -> None:
    query = tsp.build_request(DIGEST, nonce=7)

    async def scenario(api) -> None:
        for authorization in (None, "Bearer hs_0123456789abcdef_00", f"Basic {api.token}"):
            headers = QUERY | ({"authorization": authorization} if authorization else {})
            answer = await api.http.post("/tsa", content=query, headers=headers)
            assert answer.status_code == 401, authorization
            assert answer.headers["content-type"] == "application/problem+json"
        # Whoever cannot say who they are is not told what is wrong with the query either.
        assert (await api.http.post("/tsa", content=b"junk")).status_code == 401
        wrong = await api.post("/tsa", query, content_type="text/plain")
        assert wrong.json()["code"] == "unsupported-media-type"

    service(scenario)
    assert outside.queries == []


@pytest.fixture
def few_requests(other_settings: dict[str, Any]) -> None:
    other_settings["requests_per_minute"] = 2


@pytest.mark.usefixtures("few_requests")
def test_queries_count_as_calls(service, outside: Stamping) -> None:
    async def scenario(api) -> None:
        query = tsp.build_request(DIGEST, nonce=7)
        codes = [(await api.post("/tsa", query, **QUERY)).status_code for _ in range(5)]
        assert 429 in codes[2:]  # a minute may begin in between
        assert len(outside.queries) == codes.count(200) < 5

    service(scenario)


def ask(response: bytes) -> tuple[str, int | None]:
    """Status and failInfo of a TimeStampResp, read by asn1crypto."""
    whole = asn1_core.Sequence.load(response)  # asn1crypto's TimeStampResp wants a token
    info = asn1_tsp.PKIStatusInfo.load(whole.contents)
    bits = info["fail_info"].contents if info["fail_info"].native else None
    if bits is None:
        return info["status"].native, None
    [place] = [
        8 * octet + bit
        for octet, value in enumerate(bits[1:])
        for bit in range(8)
        if value & 0x80 >> bit
    ]
    return info["status"].native, place


def test_openssl_asks_and_is_answered(service, outside: Stamping, tmp_path: Path) -> None:
    """Its nonce goes on to the authority, whose answer it verifies."""
    (tmp_path / "words").write_bytes(b"words")

    async def scenario(api) -> None:
        for options in ((), ("-no_nonce",), ("-sha512",)):
            asked, said = tmp_path / "query.tsq", tmp_path / "answer.tsr"
            words = ("openssl", "ts", "-query", "-cert", "-data", tmp_path / "words", *options)
            assert judgement.run(*words, "-out", asked).returncode == 0
            answer = await api.post("/tsa", asked.read_bytes(), **QUERY)
            assert answer.headers["content-type"] == "application/timestamp-reply"
            assert ask(answer.content) == ("granted", None)
            said.write_bytes(answer.content)
            judged = judgement.run(
                *("openssl", "ts", "-verify", "-in", said, "-queryfile", asked),
                *("-CAfile", outside.roots["first"].pem),
                *("-untrusted", outside.units["first"].folder / "chain.pem"),
            )
            assert "Verification: OK" in judged.stdout, judged.stderr
            sent = asn1_tsp.TimeStampReq.load(outside.queries[-1])
            here = asn1_tsp.TimeStampReq.load(asked.read_bytes())
            for field in ("hash_algorithm", "hashed_message"):
                ours, theirs = (one["message_imprint"][field].native for one in (sent, here))
                assert ours == theirs
            assert sent["nonce"].native is not None
            assert here["nonce"].native in {None, sent["nonce"].native}

    service(scenario)


def test_what_is_not_relayed_says_why(service, outside: Stamping) -> None:
    good = tsp.build_request(DIGEST, nonce=7)
    weak = good.replace(
        bytes.fromhex("0609608648016503040201"), bytes.fromhex("0609608648016503040209")
    )
    faults = (
        (b"junk", 5),
        (good[:-2], 5),
        (weak, 0),
        (tsp.build_request(DIGEST, policy="1.2.3.4"), 15),
        (tsp.build_request(DIGEST, nonce=7, certificate_wanted=False), 2),
        (tsp.build_request(DIGEST, nonce=1 << 256), 2),
    )

    async def scenario(api) -> None:
        for query, place in faults:
            answer = await api.post("/tsa", query, **QUERY)
            assert (answer.status_code, ask(answer.content)) == (200, ("rejection", place))
        assert outside.queries == []
        largest = tsp.build_request(DIGEST, nonce=-(1 << 255))
        assert ask((await api.post("/tsa", largest, **QUERY)).content) == ("granted", None)
        outside.away |= {"first", "second"}
        refused = await api.post("/tsa", good, **QUERY)
        assert ask(refused.content) == ("rejection", 14)

    service(scenario)


def test_a_token_for_another_nonce_is_not_passed_on(
    service, outside: Stamping, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Tsa.reply
    monkeypatch.setattr(
        Tsa, "reply", lambda unit, query: honest(unit, stamping.another_nonce(query))
    )

    async def scenario(api) -> None:
        answer = await api.post("/tsa", tsp.build_request(DIGEST, nonce=7), **QUERY)
        assert ask(answer.content) == ("rejection", 14)

    service(scenario)
    assert len(outside.queries) == 2


def test_only_units_that_are_trusted_now_are_found_by_number(
    service, outside: Stamping, tmp_path: Path
) -> None:
    async def unknown(api, serial: int) -> bool:
        answer = await api.post("/v1/validation", {"serials": [str(serial)]})
        assert answer.status_code == 200, answer.text
        return answer.json()["unknown"] == [str(serial)]

    async def scenario(api) -> None:
        assert (await api.post("/tsa", tsp.build_request(DIGEST), **QUERY)).status_code == 200
        theirs = outside.roots["first"]
        unit = outside.units["first"].certificate.serial_number
        assert not await unknown(api, unit)
        assert await unknown(api, theirs.lower.serial_number)  # recorded, but no unit
        assert await unknown(api, theirs.certificate.serial_number)
        other = Root(tmp_path / "other")
        without = api.operator.settings.model_copy(update={"timestamp_trust_anchors": other.pem})
        async with operator(without) as opened:
            transport = httpx2.ASGITransport((await opened.app()).asgi)
            async with httpx2.AsyncClient(transport=transport, base_url="http://s") as http:
                api.http = http
                assert await unknown(api, unit)

    service(scenario)
