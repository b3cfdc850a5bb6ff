"""An offline root: a scripted ceremony, what goes there and comes back, and what is refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ceremonies import PASSPHRASE, PEOPLE, Place
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from hashseal_core.algorithms import KeyAlgorithm, Level
from hashseal_core.errors import InputUnreadable, InvalidValue
from hashseal_server import cli
from hashseal_server.main import operator
from hashseal_server.pki.fingerprint import agree, words_of
from hashseal_server.pki.lint import PkixLinter
from hashseal_server.pki.model import LegalPerson
from hashseal_server.pki.request import read_request
from hashseal_server.pki.service import authority_name
from hashseal_server.settings import load

SUBJECT = LegalPerson("Test Seal", "Test Organisation", "NTRCH-1", "CH")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


@pytest.fixture
def founded(place: Place) -> Place:
    """An online side that is in use, without the root's key."""
    path, said = place.request()
    out = place.ceremony("--request", path, "--fingerprint", said)
    place.install(out)
    return place


def openssl(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["openssl", *words], check=False, cwd=folder, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def test_from_the_request_to_a_signature(place: Place) -> None:
    refused = place.run("init", fails="configuration-invalid")
    assert "request-issuing" in refused["detail"]
    path, said = place.request()
    assert place.request() == (path, said)  # the open request, not another key
    out = place.ceremony("--request", path, "--fingerprint", said)
    assert {one.name for one in out.iterdir()} == {
        "root.cer", "issuing.cer", "root.crl", "ceremony.json", "ceremony.txt",
    }  # fmt: skip
    installed = place.install(out)
    assert installed["authority"] == "issuing"
    assert installed["root_fingerprint"] == place.said["root"]
    anchor = Path(installed["trust_anchor"]).read_bytes()
    root = x509.load_der_x509_certificate((out / "root.cer").read_bytes())
    assert x509.load_pem_x509_certificate(anchor) == root
    place.run("init")  # nothing more to do

    account = place.run("account", "create", "Test Organisation")["id"]
    place.run(
        *("seal", "create", "--account", account, "--name", "Test Seal", "--country", "CH"),
        *("--organisation", "Test Organisation", "--organisation-identifier", "NTRCH-1"),
    )

    async def judged() -> None:
        async with operator(load()) as opened:
            assert await opened.check() == []
            authority = opened.authority
            issued = await authority.issue_signing(SUBJECT, algorithm=KeyAlgorithm.P256)
            names = []
            for number, der in enumerate(issued.chain):
                path = out / f"chain-{number}.pem"
                read = x509.load_der_x509_certificate(der)
                path.write_bytes(read.public_bytes(Encoding.PEM))
                names.append(path.name)
            assert issued.chain[2] == (out / "root.cer").read_bytes()
            lists = b""
            for label in ("issuing", "root"):
                crl = x509.load_der_x509_crl(await authority.crl(label))
                lists += crl.public_bytes(Encoding.PEM)
            (out / "lists.pem").write_bytes(lists)
            said = await asyncio.to_thread(
                openssl,
                out,
                *("verify", "-x509_strict", "-crl_check_all", "-CRLfile", "lists.pem"),
                *("-CAfile", names[2], "-untrusted", names[1], names[0]),
            )
            assert said.strip() == "chain-0.pem: OK"
            # Nobody answers for the root, so nothing says that somebody does.
            above, top = (x509.load_der_x509_certificate(der) for der in issued.chain[1:])
            asked = ocsp.OCSPRequestBuilder().add_certificate(above, top, hashes.SHA1()).build()
            answer = ocsp.load_der_ocsp_response(
                await authority.ocsp(asked.public_bytes(Encoding.DER))
            )
            assert answer.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED
            access = above.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
            assert len(list(access.value)) == 1
            material = await authority.material_for(issued.certificate)
            assert (len(material.ocsp_responses), len(material.crls)) == (1, 2)
            # The jobs leave an offline root alone, and do not fail.
            for label in await authority.labels():
                await authority.renew_crl(label)
            assert await authority.renew_responses(None) is None
            assert await authority.renew_responders() == []
            app = await opened.app()
            assert app is not None
            assert Level.B_LT.has_validation

    asyncio.run(judged())


def test_the_record_says_who_what_and_when(founded: Place) -> None:
    out = founded.folder / "results-1"
    record = json.loads((out / "ceremony.json").read_text())
    text = (out / "ceremony.txt").read_text()
    assert record["people"] == ["First Keeper: key", "Second Keeper: witness"]
    assert [step["what"] for step in record["steps"]] == [
        "The root's key and its certificate were made",
        "The request was checked",
        "The issuing authority was certified",
        "The root's revocation list was made",
    ]
    times = [record["begun_at"], *(s["at"] for s in record["steps"]), record["ended_at"]]
    assert times == sorted(times)
    for name in ("root.cer", "issuing.cer", "root.crl"):
        digest = hashlib.sha256((out / name).read_bytes()).hexdigest()
        assert record["files"][name] == digest
        assert digest in text.replace("\n" + " " * 28 + " ", "").replace("\n", "")
    for person in record["people"]:
        assert text.count(person) == 2  # named, and a line to sign
    assert "________   date ______" in text
    assert max(map(len, text.splitlines())) <= 100
    assert record["machine"]["hashseal-server"]


def test_pkilint_and_openssl_on_everything_a_ceremony_makes(founded: Place) -> None:
    out = founded.folder / "results-1"
    for name, command in (("root.cer", "lint_pkix_cert"), ("issuing.cer", "lint_pkix_cert")):
        read = x509.load_der_x509_certificate((out / name).read_bytes())
        (out / f"{name}.pem").write_bytes(read.public_bytes(Encoding.PEM))
        words = [str(Path(sys.executable).parent / command), "lint", "-s", "WARNING"]
        done = subprocess.run(
            [*words, str(out / f"{name}.pem")], check=False, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout
    said = openssl(
        out, "crl", "-inform", "DER", "-in", "root.crl", "-noout", "-CAfile", "root.cer.pem"
    )
    assert "verify OK" in said
    assert "root.cer.pem: OK" in openssl(out, "verify", "-CAfile", "root.cer.pem", "root.cer.pem")
    for profile in ("root", "issuing"):
        shown = openssl(out, "x509", "-in", f"{profile}.cer.pem", "-noout", "-text")
        assert "CA:TRUE" in shown


def test_a_second_ceremony_renews_the_list_and_the_issuing_authority(founded: Place) -> None:
    first = founded.folder / "results-1"
    again = founded.ceremony("--list-days", "300")  # the list alone
    assert not (again / "issuing.cer").exists()
    assert (again / "root.cer").read_bytes() == (first / "root.cer").read_bytes()
    number = founded.run("pki", "install-list", str(again / "root.crl"))["number"]
    assert number > 1
    older = founded.run("pki", "install-list", str(first / "root.crl"), fails="invalid-value")
    assert f"number {number}" in older["detail"]

    async def seal() -> Any:
        async with operator(load()) as opened:
            return await opened.authority.issue_signing(SUBJECT, algorithm=KeyAlgorithm.P256)

    old = asyncio.run(seal())
    path, said = founded.request()
    out = founded.ceremony("--request", path, "--fingerprint", said)
    assert founded.install(out, "issuing-2")["authority"] == "issuing-2"
    new = asyncio.run(seal())
    assert old.chain[1] != new.chain[1]
    assert old.chain[2] == new.chain[2]
    names = [x509.load_der_x509_certificate(one.chain[1]).subject for one in (old, new)]
    assert names[0] != names[1]

    # The earlier one goes on: OCSP, lists, evidence, revocation.
    async def both() -> None:
        async with operator(load()) as opened:
            authority = opened.authority
            for issued in (old, new):
                material = await authority.material_for(issued.certificate)
                assert material.certificates == issued.chain
                for response in material.ocsp_responses:
                    PkixLinter().ocsp_response(response)
            await authority.revoke(old.serial, "superseded", at=datetime.now(UTC))
            listed = x509.load_der_x509_crl(await authority.crl("issuing"))
            assert listed.get_revoked_certificate_by_serial_number(old.serial)
            assert not list(x509.load_der_x509_crl(await authority.crl("issuing-2")))
            assert [label for label, _ in await authority.ends() if label.startswith("crl")] == [
                "crl-root", "crl-issuing", "crl-issuing-2",
            ]  # fmt: skip

    asyncio.run(both())

    # Revoked offline, it does not issue any more; the newer one does.
    serial = format(x509.load_der_x509_certificate(old.chain[1]).serial_number, "x")
    refused = founded.run(
        *("pki", "revoke", serial, "--reason", "superseded"), fails="configuration-invalid"
    )
    assert "ceremony" in refused["detail"]
    last = founded.ceremony("--revoke", serial, "--reason", "superseded")
    founded.run("pki", "install-list", str(last / "root.crl"))
    assert asyncio.run(seal()).chain[1] == new.chain[1]
    crl = x509.load_der_x509_crl((last / "root.crl").read_bytes())
    assert [format(one.serial_number, "x") for one in crl] == [serial]


def test_what_ends_is_told_and_stale_lists_are_not_used(founded: Place) -> None:
    async def scenario() -> None:
        async with operator(load()) as opened:
            real = datetime.now(UTC)
            authority = opened.authority
            issued = await authority.issue_signing(SUBJECT, algorithm=KeyAlgorithm.P256)
            assert await authority.offline_list_ends() > real + timedelta(days=360)
            first = await authority.crl("root")
            authority._lists._now = lambda: real + timedelta(days=364)
            assert await authority.crl("root") == first  # nothing else can be given
            await authority.renew_crl("root")
            assert await authority.crl("root") == first
            assert issued

    asyncio.run(scenario())


WRONG: dict[str, Callable[[Place, str, str], tuple[list[str], str]]] = {
    "fingerprint": lambda _, path, said: (
        ["--request", path, "--fingerprint", " ".join(reversed(said.split()))],
        "fingerprint",
    ),
    "nothing to certify": lambda place, _, said: (
        ["--request", str(place.secret), "--fingerprint", said],
        "request",
    ),
    "list for ever": lambda *_: (["--list-days", "401"], "400 days"),
    "a serial number that is none": lambda *_: (["--revoke", "xyz"], "hexadecimal"),
    "a serial number that was not issued": lambda *_: (["--revoke", "ab"], "was issued"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_ceremony_refuses(place: Place, what: str) -> None:
    path, said = place.request()
    words, why = WRONG[what](place, path, said)
    code = {
        "nothing to certify": "input-unreadable",
        "a serial number that was not issued": "not-found",
    }.get(what, "invalid-value")
    out = place.ceremony(*words, fails=code)
    assert why in place.said["detail"]
    if out.exists():  # it had begun: what was done is on record, and nothing of it is given out
        assert {one.name for one in out.iterdir()} == {"ceremony.json", "ceremony.txt"}
        assert "broken off" in (out / "ceremony.txt").read_text()


def test_passphrases_and_people(founded: Place, tmp_path: Path) -> None:
    founded.secret.write_text("another passphrase\n")
    founded.ceremony(fails="invalid-value")
    assert "passphrase is wrong" in founded.said["detail"]
    founded.secret.write_text("short\n")
    founded.ceremony(fails="invalid-value")
    founded.secret.write_text(PASSPHRASE)
    founded.secret.chmod(0o644)
    founded.ceremony(fails="configuration-invalid")
    founded.secret.chmod(0o600)
    alone = founded.run(
        *("pki", "ceremony", "--folder", str(tmp_path / "offline"), "--out", str(tmp_path / "x")),
        *("--present", "Only One", "--present", "Only  One"),
        *("--passphrase-file", str(founded.secret)),
        fails="invalid-value",
    )
    assert "two people" in alone["detail"]
    taken = founded.run(
        *("pki", "ceremony", "--folder", str(tmp_path / "offline"), *PEOPLE),
        *("--out", str(tmp_path / "results-1"), "--passphrase-file", str(founded.secret)),
        fails="output-refused",
    )
    assert "new folder" in taken["detail"]
    # No key of the root is anywhere in clear, nor on the online side.
    root = x509.load_der_x509_certificate((tmp_path / "results-1" / "root.cer").read_bytes())
    for path in (tmp_path / "offline" / "root-keys").iterdir():
        assert oct(path.stat().st_mode)[-3:] == "600"
        assert b"ENCRYPTED" in path.read_bytes() or path.read_bytes()[:1] == b"\x30"
    online = [one.read_bytes() for one in (tmp_path / "online" / "keys").iterdir()]
    assert root.public_bytes(Encoding.DER) not in b"".join(online)


def test_the_public_address_must_be_said(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    path, said = place.request()
    monkeypatch.delenv("HASHSEAL_PUBLIC_URL")
    words = [
        *("pki", "ceremony", "--folder", str(place.folder / "offline")),
        *("--out", str(place.folder / "out"), *PEOPLE, "--passphrase-file", str(place.secret)),
    ]
    outcome = CliRunner().invoke(cli.app, words)
    assert "HASHSEAL_PUBLIC_URL" in str(outcome.exception)
    out = place.ceremony(
        "--request", path, "--fingerprint", said, PUBLIC_URL="http://other.example.com"
    )
    refused = place.install(out, fails="invalid-value")
    assert "http://pki.example.com/crl/root.crl" in refused["detail"]


def test_what_the_online_side_refuses(place: Place, tmp_path: Path) -> None:
    path, said = place.request()
    out = place.ceremony("--request", path, "--fingerprint", said)
    (tmp_path / "elsewhere").mkdir()
    other = Place(tmp_path / "elsewhere", place._patch)
    foreign_path, foreign_said = other.request()
    foreign = other.ceremony("--request", foreign_path, "--fingerprint", foreign_said)

    def install(root: Path, certificate: Path, crl: Path, fails: str) -> str:
        return place.run(
            *("pki", "install-issuing", "--root", str(root), "--certificate", str(certificate)),
            *("--crl", str(crl)),
            fails=fails,
        )["detail"]

    root, issuing, crl = out / "root.cer", out / "issuing.cer", out / "root.crl"
    install(foreign / "root.cer", issuing, crl, "lint-failed")
    install(root, foreign / "issuing.cer", crl, "lint-failed")
    assert "did not sign this list" in install(root, issuing, foreign / "root.crl", "invalid-value")
    assert "no request" in install(
        foreign / "root.cer", foreign / "issuing.cer", foreign / "root.crl", "not-found"
    )
    install(issuing, issuing, crl, "lint-failed")
    install(root, root, crl, "lint-failed")
    install(root, issuing, issuing, "input-unreadable")
    damaged = bytearray(issuing.read_bytes())
    damaged[-5] ^= 1
    (out / "damaged.cer").write_bytes(damaged)
    assert "did not sign this certificate" in install(
        root, out / "damaged.cer", crl, "invalid-value"
    )
    place.install(out)
    place.install(out, fails="not-found")  # once
    place.run("pki", "renew-issuing", fails="configuration-invalid")
    place.run("pki", "publish", "root", fails="configuration-invalid")


ROOT_NAME = authority_name("Test Organisation", "Root", "CH")


def built(
    *parts: tuple[x509.ObjectIdentifier, str],
    key: Any = None,
    extension: bool = False,
    digest: hashes.HashAlgorithm | None = None,
) -> bytes:
    name = parts or (
        (NameOID.COUNTRY_NAME, "CH"),
        (NameOID.ORGANIZATION_NAME, "Test Organisation"),
        (NameOID.COMMON_NAME, "Issuing"),
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(kind, value, _validate=False) for kind, value in name])
    )
    if extension:
        request = request.add_extension(x509.BasicConstraints(ca=True, path_length=9), True)
    signed = request.sign(key or ec.generate_private_key(ec.SECP256R1()), digest or hashes.SHA256())
    return signed.public_bytes(Encoding.DER)


C, ORG, CN = NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME


def test_requests() -> None:
    good = built()
    assert read_request(good, ROOT_NAME).subject.rfc4514_string() == (
        "CN=Issuing,O=Test Organisation,C=CH"
    )
    pem = x509.load_der_x509_csr(good).public_bytes(Encoding.PEM)
    assert read_request(pem, ROOT_NAME) == read_request(good, ROOT_NAME)
    flipped = good[:-3] + bytes([good[-3] ^ 1]) + good[-2:]
    bad = [
        flipped,
        built(extension=True),
        built(key=ec.generate_private_key(ec.SECP224R1())),
        built(key=rsa.generate_private_key(65537, 2048)),
        built((CN, "Issuing"), (ORG, "Test Organisation"), (C, "CH")),
        built((C, "CH"), (ORG, "Test Organisation")),
        built((C, "CH"), (ORG, "Other Organisation"), (CN, "Issuing")),
        built((C, "DE"), (ORG, "Test Organisation"), (CN, "Issuing")),
        built((C, "CH"), (ORG, "Test Organisation"), (CN, "Root")),
        built((C, "CH"), (ORG, "Test Organisation"), (CN, "a\u202eb")),
        built((C, "CH"), (ORG, "Test Organisation"), (CN, "a\x00b")),
        built((C, "CH"), (ORG, "Test Organisation"), (CN, "a"), (CN, "b")),
    ]
    for one in bad:
        with pytest.raises(InvalidValue):
            read_request(one, ROOT_NAME)
    for junk in (b"", b"\x30\x00", good[:-1], b"-----BEGIN CERTIFICATE REQUEST-----\n"):
        with pytest.raises(InputUnreadable):
            read_request(junk, ROOT_NAME)


def test_fingerprints_are_read_out_as_words() -> None:
    # 7f000001 is `lusab-babad` in the proposal.
    from hashseal_server.pki.fingerprint import _word

    assert [_word(0x7F00), _word(0x0001)] == ["lusab", "babad"]
    words = words_of(b"words")
    assert len(words.split()) == 16
    assert agree(b"words", words.upper().replace(" ", "  "))
    digest = hashlib.sha256(b"words").hexdigest()
    assert agree(b"words", ":".join(digest[at : at + 2] for at in range(0, 64, 2)))
    assert not agree(b"words", words_of(b"other"))
    assert not agree(b"words", "")
