"""Keys here, certificates of an independent authority: request, import, sign; its failures."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from importing import age, brought, code_of, renewed, requested, seal_of
from public_authority import LEAF, PublicAuthority
from sqlalchemy import text

from hashseal_core import cms, evidence
from hashseal_core.algorithms import Digest, DigestAlgorithm, KeyAlgorithm
from hashseal_core.errors import CertificateRefused, EvidenceUnavailable, InvalidValue, NotFound
from hashseal_server.pki.foreign_status import ForeignStatus
from hashseal_server.pki.foreign_store import ForeignStore
from hashseal_server.seals.store import chains_of
from hashseal_server.signing.store import SigningStore

pytestmark = [
    pytest.mark.tools,
    pytest.mark.parametrize("other_settings", [{"outbound_networks": ("127.0.0.1/32",)}]),
]
KINDS = (
    (KeyAlgorithm.P256, False),
    (KeyAlgorithm.P384, False),
    (KeyAlgorithm.RSA2048, False),
    (KeyAlgorithm.RSA3072, True),
)


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[PublicAuthority]:
    made = PublicAuthority(tmp_path / "authority")
    yield made
    made.close()


def replica_of(api) -> ForeignStatus:
    """What another process would know."""
    return ForeignStatus(
        store=ForeignStore(api.operator.database, chains_of),
        outside=api.operator.outbound,
        now=lambda: datetime.now(UTC),
    )


@pytest.mark.parametrize(("algorithm", "pss"), KINDS)
def test_request_import_sign(service, authority, tmp_path: Path, algorithm, pss) -> None:
    async def scenario(api) -> None:
        made, path = await requested(api, tmp_path, algorithm, pss=pss)
        said = await asyncio.to_thread(
            subprocess.run,
            ["openssl", "req", "-in", path, "-noout", "-verify", "-subject"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "OK" in said.stdout + said.stderr
        assert "CN = Test Seal" in said.stdout
        certificate = authority.sign(path)
        # In any order, DER and PEM, with something that does not belong to it.
        der_path = tmp_path / "leaf.der"
        der_path.write_bytes(
            x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER)
        )
        bundle = tmp_path / "bundle.pem"
        tsa = authority.folder / "issuing" / "tsa.pem"
        bundle.write_bytes(b"".join(one.read_bytes() for one in (*authority.chain[::-1], tsa)))
        done = await brought(api, made.id, bundle, der_path)
        assert done.reached
        assert [w for w in done.warnings if "Public TSA" in w and "left out" in w]
        assert bool([w for w in done.warnings if "RSA-2048" in w]) is (
            algorithm is KeyAlgorithm.RSA2048
        )
        assert [x509.load_der_x509_certificate(c).subject for c in done.seal.chain[1:]] == [
            x509.load_pem_x509_certificate(one.read_bytes()).subject for one in authority.chain
        ]
        shown = (await api.get(f"/v1/seals/{done.seal.id}")).json()
        assert shown["status"] == "active"
        assert "B-LT" in shown["levels"]
        for name in ("SHA-256", "SHA-512"):
            digest = Digest(DigestAlgorithm(name), bytes(range(DigestAlgorithm(name).size)))
            answer = await api.sign(
                seal_id=done.seal.id,
                level="B-LT",
                hash_algorithm=name,
                hashes=[base64.b64encode(digest.value).decode()],
            )
            assert answer.status_code == 200, answer.text
            encoded = base64.b64decode(answer.json()["signatures"][0]["signature"])
            assert len(encoded) <= shown["signature_size"]
            parsed = cms.parse(encoded)
            cms.check(parsed, digest)
            assert {*parsed.certificates} == {*done.seal.chain}
            assert parsed.signing_certificate == der_path.read_bytes()
            material = answer.json()["validation"]
            found = [base64.b64decode(one) for one in material["ocsp_responses"]]
            evidence.require_complete(
                [der_path.read_bytes()],
                evidence.ValidationMaterial(done.seal.chain, tuple(found)),
                at=datetime.now(UTC),
            )
        # The same again gives the same.
        assert (await brought(api, made.id, bundle, der_path)).seal.id == done.seal.id

    service(scenario)


def test_only_confirmed_addresses_are_called(service, authority, tmp_path: Path) -> None:
    async def scenario(api) -> None:
        seal, _ = await seal_of(api, authority, tmp_path, confirmed=False)
        assert (await api.get(f"/v1/seals/{seal.id}")).json()["levels"] == ["B-B", "B-T"]
        assert (await api.sign("x", seal_id=seal.id, level="B-T")).status_code == 200
        refused = await api.sign("y", seal_id=seal.id, level="B-LT")
        assert (refused.status_code, code_of(refused)) == (409, "level-unavailable")
        assert refused.json()["field"] == "level"
        await renewed(api.operator.foreign())
        assert not authority.asked
        assert await api.left() == (99, 0)
        confirmed = await api.operator.importing().confirm(api.account, seal.id)
        assert confirmed.reached
        assert {*authority.asked} == {"/ocsp/issuing", "/ocsp/root"}
        assert {*confirmed.addresses} == {
            f"{authority.base}/{service}/{label}"
            for service in ("ocsp", "crl")
            for label in ("issuing", "root")
        }
        await asyncio.sleep(0)
        async with api.operator.database.read() as connection:
            events = [r.event for r in await connection.execute(text("SELECT * FROM audit_record"))]
        assert events.count("revocation-addresses.confirmed") == 1
        with pytest.raises(InvalidValue, match="our own authority"):
            await api.operator.importing().confirm(api.account, api.seal)

    service(scenario)


def test_the_list_is_the_fallback(service, authority, tmp_path: Path) -> None:
    authority.ocsp_away = True

    async def scenario(api) -> None:
        seal, _ = await seal_of(api, authority, tmp_path)
        answer = await api.sign("x", seal_id=seal.id, level="B-LT")
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["validation"]["crls"]) >= 2
        assert authority.asked["/crl/issuing"] == authority.asked["/crl/root"] == 1
        # What is revoked stands in a list, too.
        another, certificate = await seal_of(api, authority, tmp_path)
        authority.revoke(certificate)
        await age(api, renew_at=datetime.now(UTC) - timedelta(seconds=1))
        with pytest.raises(EvidenceUnavailable):
            await renewed(api.operator.foreign())
        assert code_of(await api.sign("y", seal_id=another.id)) == "seal-revoked"
        assert (await api.sign("z", seal_id=seal.id)).status_code == 200

    service(scenario)


def test_an_authority_that_is_away(service, authority, tmp_path: Path) -> None:
    async def scenario(api) -> None:
        seal, _ = await seal_of(api, authority, tmp_path)
        authority.away = True
        # What is kept is good until it goes stale.
        assert (await api.sign("x", seal_id=seal.id, level="B-LT")).status_code == 200
        foreign = api.operator.foreign()
        await age(api, renew_at=datetime.now(UTC) - timedelta(seconds=1))
        with pytest.raises(EvidenceUnavailable, match="2 certificates"):
            await renewed(foreign)
        assert (await api.sign("y", seal_id=seal.id, level="B-LT")).status_code == 200
        left = await api.left()
        await age(api, next_update=datetime.now(UTC) - timedelta(seconds=1))
        app_that_starts = replica_of(api)
        for _ in range(2):  # the second is refused without asking again
            with pytest.raises(EvidenceUnavailable):
                await app_that_starts.material_for(seal.chain)
        assert await api.left() == left
        authority.away = False
        await renewed(foreign)
        assert (await api.sign("z", seal_id=seal.id, level="B-LT")).status_code == 200
        members = await ForeignStore(api.operator.database, chains_of).members([seal.imported])
        assert members[0].failure is None

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("source", ["ocsp", "crl"])
def test_an_authority_whose_clock_is_a_moment_ahead(
    service, authority, tmp_path: Path, source: str
) -> None:
    """What it says now begins a moment later here: that is waited for. A clock that is wrong is not."""

    async def scenario(api) -> None:
        authority.ocsp_away = source == "crl"
        authority.ahead = 2
        seal, _ = await seal_of(api, authority, tmp_path)
        assert (await api.sign("x", seal_id=seal.id, level="B-LT")).status_code == 200
        authority.ahead = 600
        made, path = await requested(api, tmp_path)
        certificate = await asyncio.to_thread(authority.sign, path)
        done = await brought(api, made.id, certificate, *authority.chain)
        assert not done.reached
        assert [one for one in done.warnings if "from the future" in one]

    service(scenario)


@pytest.mark.parametrize("how", ["away", "stale", "junk", "large"])
def test_nothing_fresh_no_charge(service, authority, tmp_path: Path, how: str) -> None:
    async def scenario(api) -> None:
        if how == "away":
            authority.away = True
        elif how == "stale":
            authority.ago = 3
        elif how == "large":
            authority.changed["/ocsp/issuing"] = lambda content: content + bytes(64 * 1024)
            authority.changed["/crl/issuing"] = lambda content: content + bytes(4 * 1024 * 1024)
        else:
            for path in ("/ocsp/issuing", "/crl/issuing"):
                authority.changed[path] = lambda content: content[:-8] + bytes(8)
        seal, _ = await seal_of(api, authority, tmp_path)
        for level in ("B-LT", "B-LTA"):
            refused = await api.sign("x", seal_id=seal.id, level=level)
            assert (refused.status_code, code_of(refused)) == (503, "evidence-unavailable")
            assert "127.0.0.1" not in refused.text  # why is the operator's to know
        assert '"event":"status-data-unavailable"' in api.log.getvalue()
        if how == "large":
            for limit in (64 * 1024, 4 * 1024 * 1024):
                assert f"answered with more than {limit} octets" in api.log.getvalue()
        assert await api.left() == (100, 0)
        async with api.operator.database.read() as connection:
            assert await connection.scalar(text("SELECT count(*) FROM signature")) == 0
        assert (await api.sign("y", seal_id=seal.id, level="B-T")).status_code == 200

    service(scenario)


def test_revoked_at_its_authority(service, authority, tmp_path: Path) -> None:
    async def scenario(api) -> None:
        seal, certificate = await seal_of(api, authority, tmp_path)
        other, _ = await seal_of(api, authority, tmp_path)
        authority.revoke(certificate)
        await age(api, next_update=datetime.now(UTC))  # so that the call asks
        refused = await api.sign("x", seal_id=seal.id, level="B-LT")
        assert (refused.status_code, code_of(refused)) == (409, "seal-revoked")
        for level in ("B-B", "B-T", "B-LT"):
            assert code_of(await api.sign("x", seal_id=seal.id, level=level)) == "seal-revoked"
        assert (await api.get(f"/v1/seals/{seal.id}")).json()["status"] == "revoked"
        assert await api.left() == (100, 0)
        assert (await api.sign("y", seal_id=other.id, level="B-LT")).status_code == 200
        assert '"event":"imported-certificate-revoked"' in api.log.getvalue()
        (told,) = (await api.get("/v1/events")).json()["events"]
        assert (told["type"], told["data"]["seal_id"]) == ("credential.revoked", seal.id)
        assert told["data"]["serial"] == f"{seal.serial:x}"
        async with api.operator.database.read() as connection:
            rows = await connection.execute(
                text("SELECT content FROM audit_record WHERE event='imported-certificate.revoked'")
            )
            (event,) = rows
        assert seal.imported in event.content
        assert '"authority"' in event.content
        serials = [str(seal.serial), str(other.serial), "5"]
        collected = (await api.post("/v1/validation", {"serials": serials})).json()
        assert collected["revoked"] == [str(seal.serial)]
        assert collected["unknown"] == ["5"]
        assert collected["validation"]["ocsp_responses"]

    service(scenario)


def test_a_revoked_intermediate_stops_all_below(service, authority, tmp_path: Path) -> None:
    async def scenario(api) -> None:
        seals = [(await seal_of(api, authority, tmp_path))[0] for _ in range(2)]
        authority.revoke(authority.issuing_pem, label="root", reason="CACompromise")
        await age(api, renew_at=datetime.now(UTC) - timedelta(seconds=1))
        with pytest.raises(EvidenceUnavailable):
            await renewed(api.operator.foreign())
        for seal in seals:
            assert code_of(await api.sign("x", seal_id=seal.id)) == "seal-revoked"
        with pytest.raises(CertificateRefused, match="revoked by its authority"):
            await seal_of(api, authority, tmp_path)
        assert len(await (await api.operator.seals()).all(api.account)) == 3
        told = (await api.get("/v1/events")).json()["events"]
        assert {one["data"]["seal_id"] for one in told} == {seal.id for seal in seals}
        assert {one["data"]["reason"] for one in told} == {"issuer-revoked"}

    service(scenario)


def test_a_revocation_here_holds_at_once(service, authority, tmp_path: Path, monkeypatch) -> None:
    """I11 for imported seals: a signature that was made before is not delivered after."""

    async def scenario(api) -> None:
        seal, _ = await seal_of(api, authority, tmp_path)
        book = await api.operator.seals()
        made, go_on = asyncio.Event(), asyncio.Event()
        real = SigningStore.commit

        async def late(self, request, call):
            made.set()
            await go_on.wait()
            return await real(self, request, call)

        monkeypatch.setattr(SigningStore, "commit", late)
        call = asyncio.create_task(api.sign("x", seal_id=seal.id, level="B-LT"))
        await made.wait()
        with pytest.raises(InvalidValue):
            await book.revoke(api.account, seal.id, "boredom")
        await book.revoke(api.account, seal.id, "superseded")
        go_on.set()
        assert code_of(await call) == "seal-revoked"
        assert code_of(await api.sign("y", seal_id=seal.id)) == "seal-revoked"
        with pytest.raises(NotFound):
            await book.revoke(api.account, seal.id, "superseded")
        (told,) = (await api.get("/v1/events")).json()["events"]
        assert (told["data"]["seal_id"], told["data"]["reason"]) == (seal.id, "superseded")
        assert await api.left() == (100, 0)
        assert (await api.sign("z")).status_code == 200  # our own seal

    service(scenario)


def test_equal_serial_numbers(service, authority, tmp_path: Path) -> None:
    """Those of two authorities, and of ours: told apart by the certificate (I12, I15)."""
    second = PublicAuthority(tmp_path / "second")

    async def scenario(api) -> None:
        own = (await (await api.operator.seals()).all(api.account))[0]
        one, certificate = await seal_of(api, authority, tmp_path, serial=own.serial)
        two, _ = await seal_of(api, second, tmp_path, serial=own.serial)
        assert one.serial == two.serial == own.serial
        for seal in (own, one, two):
            answer = await api.sign("x", seal_id=seal.id, level="B-LT")
            assert answer.status_code == 200, answer.text
            used = [base64.b64decode(c) for c in answer.json()["validation"]["certificates"]]
            assert seal.chain[0] in used
        collected = (await api.post("/v1/validation", {"serials": [str(own.serial)]})).json()
        found = [base64.b64decode(c) for c in collected["validation"]["certificates"]]
        assert {own.chain[0], one.chain[0], two.chain[0]} <= {*found}
        # Another account knows nothing of them.
        account = await api.operator.accounts.create("Other Organisation")
        theirs, _ = await seal_of(api, authority, tmp_path, serial=7, account=account.id)
        answer = (await api.post("/v1/validation", {"serials": [str(theirs.serial)]})).json()
        assert answer["unknown"] == ["7"]
        # Revoked at the one authority, here or at ours: the others go on.
        authority.revoke(certificate)
        await age(api, renew_at=datetime.now(UTC) - timedelta(seconds=1))
        with pytest.raises(EvidenceUnavailable):
            await renewed(api.operator.foreign())
        codes = [code_of(await api.sign("y", seal_id=s.id, level="B-LT")) for s in (own, one, two)]
        assert codes == ["200", "seal-revoked", "200"]
        issuing = x509.load_der_x509_certificate((await api.http.get("/certs/issuing.cer")).content)
        crl = x509.load_der_x509_crl((await api.http.get("/crl/issuing.crl")).content)
        assert len(crl) == 0
        # Our responder: good for its own, unknown for what others numbered.
        for serial, status in (
            (own.serial, ocsp.OCSPCertStatus.GOOD),
            (theirs.serial, ocsp.OCSPCertStatus.UNKNOWN),
        ):
            leaf = x509.load_der_x509_certificate(own.chain[0])
            template = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuing, hashes.SHA1())
            parts = template.build()
            asked = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
                parts.issuer_name_hash, parts.issuer_key_hash, serial, hashes.SHA1()
            )
            said = await api.operator.authority.ocsp(asked.build().public_bytes(Encoding.DER))
            assert ocsp.load_der_ocsp_response(said).certificate_status is status

    try:
        service(scenario)
    finally:
        second.close()


def test_a_responder_without_nocheck(service, tmp_path: Path) -> None:
    plain = PublicAuthority(tmp_path / "plain", nocheck=False)

    async def scenario(api) -> None:
        seal, _ = await seal_of(api, plain, tmp_path)
        answer = await api.sign("x", seal_id=seal.id, level="B-LT")
        assert answer.status_code == 200, answer.text
        material = answer.json()["validation"]
        assert len(material["crls"]) >= 1  # the list about the responder
        # Revoked, it speaks for nobody: the list is used instead.
        plain.revoke(plain.folder / "issuing" / "responder.pem")
        await age(api, renew_at=datetime.now(UTC) - timedelta(seconds=1))
        await renewed(api.operator.foreign())
        members = await ForeignStore(api.operator.database, chains_of).members([seal.imported])
        assert members[0].kept.source == "crl"

    try:
        service(scenario)
    finally:
        plain.close()


def test_calls_that_come_together_ask_once(service, authority, tmp_path: Path) -> None:
    async def scenario(api) -> None:
        seal, _ = await seal_of(api, authority, tmp_path)
        await age(api, next_update=datetime.now(UTC))
        authority.asked.clear()
        answers = await asyncio.gather(
            *(api.sign(f"{n}", seal_id=seal.id, level="B-LT") for n in range(12))
        )
        assert {answer.status_code for answer in answers} == {200}
        assert authority.asked == {"/ocsp/issuing": 1, "/ocsp/root": 1}
        # And another replica takes what is kept.
        await replica_of(api).material_for(seal.chain)
        assert authority.asked == {"/ocsp/issuing": 1, "/ocsp/root": 1}

    service(scenario)


def test_refused_and_nothing_is_kept(service, authority, tmp_path: Path) -> None:
    async def scenario(api) -> None:
        made, path = await requested(api, tmp_path)
        another, _ = await requested(api, tmp_path)
        certificate = authority.sign(path)
        service_of = api.operator.importing()
        for request, files, what in (
            (another.id, (certificate, *authority.chain), "none of the certificates has the key"),
            (made.id, (certificate,), "bring the certificate of CN=Public CA"),
            (made.id, (certificate, authority.issuing_pem), "certificate of CN=Public Root"),
        ):
            with pytest.raises(CertificateRefused, match=what):
                await brought(api, request, *files)
        odd = authority.sign(
            path, extensions=("keyUsage = keyEncipherment", "extendedKeyUsage = serverAuth")
        )
        with pytest.raises(CertificateRefused, match=r"2 faults.*keyUsage.*other purposes"):
            await brought(api, made.id, odd, *authority.chain)
        sha1 = authority.sign(path, digest="sha1")
        with pytest.raises(CertificateRefused, match="is signed with sha1"):
            await brought(api, made.id, sha1, *authority.chain)
        with pytest.raises(NotFound):
            await service_of.find("nothing")
        assert [one.seal_id for one in await service_of.requests()] == [None, None]
        async with api.operator.database.read() as connection:
            assert await connection.scalar(text("SELECT count(*) FROM foreign_certificate")) == 0
        done = await brought(api, made.id, certificate, *authority.chain)
        renewal = authority.sign(path, extensions=LEAF)
        with pytest.raises(InvalidValue, match=done.seal.id):
            await brought(api, made.id, renewal, *authority.chain)

    service(scenario)
