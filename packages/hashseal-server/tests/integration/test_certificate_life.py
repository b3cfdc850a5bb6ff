"""Responders and issuing authorities follow one another; revocation of every kind; list numbers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from sqlalchemy import text

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import EvidenceUnavailable, InvalidValue, NotFound
from hashseal_server.main import operator
from hashseal_server.pki.lint import PkixLinter
from hashseal_server.pki.model import LegalPerson, Role
from hashseal_server.pki.service import RESPONDER_RENEWED
from hashseal_server.pki.store import PkiStore
from hashseal_server.settings import Settings

SUBJECT = LegalPerson("Another Seal", "Test Organisation", "NTRCH-1", "CH")
GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
FINAL = ("unspecified", "keyCompromise", "affiliationChanged", "superseded")
FINAL += ("cessationOfOperation", "privilegeWithdrawn")


def shift(authority, by: timedelta) -> None:
    """The whole authority's clock is so much ahead."""

    def later() -> datetime:
        return datetime.now(UTC) + by

    for part in (
        authority,
        authority.authorities,
        authority._issuer,
        authority._lists,
        authority._responses,
    ):
        part._now = later


def request_for(leaf: bytes, issuer: bytes) -> bytes:
    child, above = x509.load_der_x509_certificate(leaf), x509.load_der_x509_certificate(issuer)
    built = ocsp.OCSPRequestBuilder().add_certificate(child, above, hashes.SHA1()).build()
    return built.public_bytes(Encoding.DER)


def judge(folder: Path, chain: tuple[bytes, ...], response: bytes, at: datetime) -> str:
    """What OpenSSL says of a response at a time."""
    for name, one in zip(("leaf", "issuer", "root"), chain, strict=True):
        read = x509.load_der_x509_certificate(one)
        (folder / f"{name}.pem").write_bytes(read.public_bytes(Encoding.PEM))
    (folder / "response.der").write_bytes(response)
    done = subprocess.run(
        [
            *("faketime", at.strftime("%Y-%m-%d %H:%M:%S"), "openssl", "ocsp", "-CAfile"),
            *("root.pem", "-issuer", "issuer.pem", "-cert", "leaf.pem", "-no_nonce"),
            *("-respin", "response.der"),
        ],
        check=False, capture_output=True, text=True, cwd=folder, env={**os.environ, "TZ": "UTC"},
    )  # fmt: skip
    return done.stdout + done.stderr


def test_responders_are_renewed_long_before_they_end(service, tmp_path: Path) -> None:
    async def scenario(api) -> None:
        authority = api.operator.authority
        seal = (await (await api.operator.seals()).all(api.account))[0]
        asked = request_for(*seal.chain[:2])
        old = await authority.ocsp(asked)
        old_at = datetime.now(UTC)
        before = (await authority.authorities.get("issuing")).responder
        end = before.certificate.not_valid_after_utc
        for days, made in ((2, 0), (-2, 2), (-2, 0)):  # root's and issuing authority's
            shift(authority, end - RESPONDER_RENEWED - timedelta(days=days) - old_at)
            assert len(await authority.renew_responders()) == made
        moved = end - RESPONDER_RENEWED + timedelta(days=2)
        new = await authority.ocsp(asked)
        read = ocsp.load_der_ocsp_response(new)
        (speaks,) = read.certificates
        assert speaks != before.certificate
        assert speaks.not_valid_after_utc > end + timedelta(days=365)
        for response, at in ((old, old_at), (new, moved)):
            said = await asyncio.to_thread(judge, tmp_path, seal.chain, response, at)
            assert "Response verify OK" in said, said
            assert "leaf.pem: good" in said
            assert "WARNING" not in said
            PkixLinter().ocsp_response(response)
        # The earlier one speaks no more; the material of a signature is of the new one.
        material = await authority.material_for(seal.chain[0])
        found = ocsp.load_der_ocsp_response(material.ocsp_responses[0]).certificates
        assert found == [speaks]
        ended = await authority.renew_responses(None)
        assert ended is None

        # Also after the first has ended, and nobody has renewed anything since.
        shift(authority, end + timedelta(days=1) - datetime.now(UTC))
        later = await authority.ocsp(asked)
        said = await asyncio.to_thread(
            judge, tmp_path, seal.chain, later, end + timedelta(days=1, minutes=1)
        )
        assert "Response verify OK" in said, said

    service(scenario)


def test_no_responder_outlives_its_authority_or_is_made_again_and_again(service) -> None:
    async def scenario(api) -> None:
        authority = api.operator.authority
        end = (await authority.authorities.get("issuing")).certificate.not_valid_after_utc
        shift(authority, end - timedelta(days=30) - datetime.now(UTC))
        (await authority.authorities.all(fresh=True))
        made = await authority.renew_responders()
        assert {one.issuer for one in made} == {"root", "issuing"}
        assert all(one.not_after <= end for one in made if one.issuer == "issuing")
        assert await authority.renew_responders() == []
        shift(authority, end + timedelta(days=1) - datetime.now(UTC))
        assert await authority.renew_responders() == []
        await authority.renew_crl("issuing")  # over: nothing more to say, and no failure

    service(scenario)


def test_an_issuing_authority_follows_another(replicas) -> None:
    async def scenario(apis) -> None:
        one, other = (api.operator.authority for api in apis)
        seal = (await (await apis[0].operator.seals()).all(apis[0].account))[0]
        earlier = await apis[0].sign("before", key="before", level="B-LT")
        made = await one.renew_issuing()
        assert made.label == "issuing-2"
        issued = await other.issue_signing(SUBJECT, algorithm=KeyAlgorithm.P256)
        assert issued.chain[1] == made.certificate
        assert issued.chain[2] == seal.chain[2]
        points = x509.load_der_x509_certificate(issued.certificate).extensions
        point = points.get_extension_for_class(x509.CRLDistributionPoints).value[0]
        assert point.full_name[0].value == "http://pki.example.com/crl/issuing-2.crl"
        for authority, api in zip((one, other), apis, strict=True):
            for chain in (seal.chain, issued.chain):
                answer = ocsp.load_der_ocsp_response(await authority.ocsp(request_for(*chain[:2])))
                assert answer.certificate_status is GOOD
                issuer = x509.load_der_x509_certificate(chain[1])
                answer.certificates[0].verify_directly_issued_by(issuer)
            got = await api.http.get("/certs/issuing-2.cer")
            assert got.content == made.certificate
            crl = x509.load_der_x509_crl((await api.http.get("/crl/issuing-2.crl")).content)
            assert crl.is_signature_valid(
                x509.load_der_x509_certificate(made.certificate).public_key()
            )
        # The seal of before goes on, answers of before are made again, and it can be renewed.
        assert (await apis[1].sign("after", level="B-LT")).status_code == 200
        again = await apis[1].sign("before", key="before", level="B-LT")
        assert again.content == earlier.content
        book = await apis[1].operator.seals()
        renewed = await book.renew(apis[1].account, apis[1].seal, same_key=True)
        assert renewed.chain[1] == made.certificate
        assert (await apis[0].sign("renewed", level="B-LT")).status_code == 200
        again = await apis[0].sign("before", key="before", level="B-LT")
        assert again.content == earlier.content
        # Revocations go to the list of the one that issued.
        await one.revoke(seal.serial, "superseded", at=datetime.now(UTC))
        for label, count in (("issuing", 1), ("issuing-2", 0)):
            assert len(x509.load_der_x509_crl(await other.crl(label))) == count
        assert (await other.renew_issuing()).label == "issuing-3"
        # Whoever is revoked does not issue.
        last = (await one.authorities.issuing()).issued
        await one.revoke(last.serial, "cACompromise", at=datetime.now(UTC))
        assert (await other.authorities.issuing()).label == "issuing-2"

    replicas(2, scenario)


@pytest.mark.parametrize("database_url", [None], ids=["sqlite"])
def test_every_reason_and_no_suspension(service, tmp_path: Path) -> None:
    async def scenario(api) -> None:
        authority = api.operator.authority
        issued = {
            reason: await authority.issue_signing(SUBJECT, algorithm=KeyAlgorithm.P256)
            for reason in FINAL
        }
        first = issued["superseded"]
        for bad in ("certificateHold", "removeFromCRL", "aACompromise", "cACompromise", "none"):
            match = "suspend is not offered" if bad[:2] in {"ce", "re"} else "must be one of"
            with pytest.raises(InvalidValue, match=match):
                await authority.revoke(first.serial, bad, at=datetime.now(UTC))
        now = datetime.now(UTC).replace(microsecond=0)
        for reason, since in (
            ("superseded", now),
            ("keyCompromise", now - timedelta(days=900)),
            ("keyCompromise", now + timedelta(days=1)),
        ):
            with pytest.raises(InvalidValue, match="invalidity date"):
                await authority.revoke(first.serial, reason, at=now, invalid_since=since)
        for reason, one in issued.items():
            since = now - timedelta(minutes=2) if reason == "keyCompromise" else None
            await authority.revoke(one.serial, reason, at=datetime.now(UTC), invalid_since=since)
            with pytest.raises(NotFound, match="final"):
                await authority.revoke(one.serial, "superseded", at=datetime.now(UTC))
        encoded = await authority.crl("issuing")
        crl = x509.load_der_x509_crl(encoded)
        PkixLinter().crl(encoded)
        for reason, one in issued.items():
            entry = crl.get_revoked_certificate_by_serial_number(one.serial)
            answer = ocsp.load_der_ocsp_response(await authority.ocsp(request_for(*one.chain[:2])))
            PkixLinter().ocsp_response(answer.public_bytes(Encoding.DER))
            assert answer.certificate_status is REVOKED
            if reason == "unspecified":  # said by saying nothing (RFC 5280, 5.3.1)
                assert len(entry.extensions) == 0
                assert answer.revocation_reason is None
                continue
            flag = x509.ReasonFlags(reason)
            assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is flag
            assert answer.revocation_reason is flag
            assert len(entry.extensions) == 1 + (reason == "keyCompromise")
        (tmp_path / "list.der").write_bytes(encoded)
        root = x509.load_der_x509_certificate(first.chain[1])
        (tmp_path / "issuer.pem").write_bytes(root.public_bytes(Encoding.PEM))
        done = await asyncio.to_thread(
            subprocess.run,
            [
                *("openssl", "crl", "-inform", "DER", "-in", "list.der", "-text", "-noout"),
                *("-CAfile", "issuer.pem"),
            ],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "verify OK" in done.stderr
        assert done.stdout.count("Key Compromise") == done.stdout.count("Invalidity Date") == 1

        root_serial = (await authority.authorities.get("root")).issued.serial
        with pytest.raises(InvalidValue, match="nobody can revoke a root"):
            await authority.revoke(root_serial, "superseded", at=datetime.now(UTC))

    service(scenario)


def test_a_revoked_responder_is_replaced_at_once_everywhere(replicas) -> None:
    async def scenario(apis) -> None:
        one, other = (api.operator.authority for api in apis)
        seal = (await (await apis[0].operator.seals()).all(apis[0].account))[0]
        asked = request_for(*seal.chain[:2])
        for authority in (one, other):
            await authority.ocsp(asked)
        bad = (await one.authorities.get("issuing")).responder
        await one.revoke(bad.serial, "keyCompromise", at=datetime.now(UTC))
        for authority in (other, one):
            read = ocsp.load_der_ocsp_response(await authority.ocsp(asked))
            assert read.certificate_status is GOOD
            assert read.certificates != [bad.certificate]
        crl = x509.load_der_x509_crl(await other.crl("issuing"))
        assert crl.get_revoked_certificate_by_serial_number(bad.serial)

    replicas(2, scenario)


def test_nothing_is_delivered_with_the_timestamp_of_a_revoked_unit(replicas) -> None:
    async def scenario(apis) -> None:
        serial = (await apis[1].operator.timestamps()).standing.serial
        assert (await apis[1].sign("a", level="B-T")).status_code == 200
        # Not by the command, which takes the unit from its owner first: the commit looks, too.
        await apis[0].operator.authority.revoke(serial, "keyCompromise", at=datetime.now(UTC))
        refused = await apis[1].sign("b", level="B-T")
        assert refused.json()["code"] == "timestamp-unavailable"
        assert (await apis[1].sign("c", level="B-B")).status_code == 200  # it has none
        assert (await apis[0].sign("d", level="B-T")).status_code == 200  # of another unit
        assert await apis[0].left() == (97, 0)

    replicas(2, scenario)


PUBLISHERS, LISTS = 4, 6


def publish(order: dict[str, str]) -> None:
    """One process of several: publish lists, and say their numbers."""

    async def scenario() -> list[int]:
        settings = Settings(
            data_dir=Path(order["data_dir"]),
            database_url=order["database_url"] or None,
            public_url="http://pki.example.com",
        )
        numbers = []
        async with operator(settings, migrate=False) as opened:
            shift(opened.authority, timedelta(days=float(order["days"])))
            while len(numbers) < LISTS:
                try:
                    crl = x509.load_der_x509_crl(await opened.authority.publish("issuing"))
                except EvidenceUnavailable:
                    continue  # the others were faster all the time
                number = crl.extensions.get_extension_for_class(x509.CRLNumber).value
                numbers.append(number.crl_number)
        return numbers

    print(json.dumps(asyncio.run(scenario())))


def test_list_numbers_only_grow_over_processes_restarts_and_clocks(service) -> None:
    async def scenario(api) -> None:
        settings = api.operator.settings
        crew = []
        for number in range(PUBLISHERS):
            order = {
                "data_dir": str(settings.data_dir),
                "database_url": settings.database_url or "",
                "days": str(number - 2),  # two of the clocks were set back
            }
            crew.append(
                await asyncio.create_subprocess_exec(
                    sys.executable, __file__, json.dumps(order), stdout=subprocess.PIPE
                )
            )
        said = [(await one.communicate())[0] for one in crew]
        assert [one.returncode for one in crew] == [0] * PUBLISHERS
        each = [json.loads(one) for one in said]
        for numbers in each:  # in the order in which the process published them
            assert numbers == sorted(set(numbers))
        everything = {number for numbers in each for number in numbers}
        assert len(everything) == PUBLISHERS * LISTS
        newest = await PkiStore(api.operator.database).newest_list("issuing")
        assert newest[0] == max(everything)

    service(scenario)


def number_of(crl: bytes) -> int:
    read = x509.load_der_x509_crl(crl)
    return int(read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)


def test_a_restored_database_gives_no_list_number_again(service) -> None:
    async def scenario(api) -> None:
        authority, database = api.operator.authority, api.operator.database
        kept = number_of(await authority.publish("issuing"))
        lost = [number_of(await authority.publish("issuing")) for _ in range(3)]

        async def restore() -> None:
            async with database.write() as connection:
                await connection.execute(
                    text("DELETE FROM revocation_list WHERE issuer = 'issuing' AND number > :kept"),
                    {"kept": kept},
                )

        await restore()
        # Nobody restores within three seconds; somebody who could not wait can say so.
        shift(authority, timedelta(minutes=5))
        again = number_of(await authority.publish("issuing"))
        assert again > max(lost)
        await restore()
        shift(authority, timedelta(hours=-1))  # as if it had been ahead before
        assert number_of(await authority.publish("issuing")) == kept + 1
        assert number_of(await authority.publish("issuing", above=again)) == again + 1
        assert number_of(await authority.publish("issuing")) == again + 2
        with pytest.raises(InvalidValue, match="a year ahead"):
            await authority.publish("issuing", above=again + 400 * 86_400)

    service(scenario)


def test_no_list_with_a_larger_number_lacks_what_one_with_a_smaller_has(
    replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose clock is ahead reads the revocations, and is late to publish them."""

    async def scenario(apis) -> None:
        ahead, other = (api.operator.authority for api in apis)
        one = await other.issue_signing(SUBJECT, algorithm=KeyAlgorithm.P256)
        shift(ahead, timedelta(hours=2))
        made, go_on = asyncio.Event(), asyncio.Event()
        real = PkiStore.publish

        async def late(self, *words, **named):
            if self is ahead._lists._store and not made.is_set():
                made.set()
                await go_on.wait()
            return await real(self, *words, **named)

        monkeypatch.setattr(PkiStore, "publish", late)
        slow = asyncio.create_task(ahead.publish("issuing"))
        await made.wait()
        await other.revoke(one.serial, "superseded", at=datetime.now(UTC))
        before = await other.crl("issuing")
        go_on.set()
        after = await slow
        assert number_of(after) > number_of(before)
        for crl in (before, after):
            assert x509.load_der_x509_crl(crl).get_revoked_certificate_by_serial_number(one.serial)

    replicas(2, scenario)


def test_revocations_at_once_are_all_on_the_list(replicas) -> None:
    async def scenario(apis) -> None:
        authorities = [api.operator.authority for api in apis]
        made = [
            await authorities[0].issue_signing(SUBJECT, algorithm=KeyAlgorithm.P256)
            for _ in range(8)
        ]
        await asyncio.gather(
            *(
                authorities[n % len(apis)].revoke(one.serial, "superseded", at=datetime.now(UTC))
                for n, one in enumerate(made)
            )
        )
        crl = x509.load_der_x509_crl(await authorities[0].crl("issuing"))
        assert {one.serial_number for one in crl} == {one.serial for one in made}

    replicas(4, scenario)


def test_units_and_persons_have_profiles_that_pass_too(service) -> None:
    async def scenario(api) -> None:
        for role in (Role.ROOT, Role.ISSUING, Role.RESPONDER, Role.TSU):
            for one in await PkiStore(api.operator.database).of_role(role):
                PkixLinter().certificate(one.certificate, role)

    service(scenario)


if __name__ == "__main__":
    publish(json.loads(sys.argv[1]))
