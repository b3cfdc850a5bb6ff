"""OCSP as clients speak it: GET and POST, caches, nonces, several certificates; judged by OpenSSL."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import subprocess
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from hashseal_core import der
from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.pki import status as statuses
from hashseal_server.pki.lint import PkixLinter
from hashseal_server.pki.model import LegalPerson

GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
UNKNOWN = ocsp.OCSPCertStatus.UNKNOWN
MALFORMED = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
UNAUTHORIZED = ocsp.OCSPResponseStatus.UNAUTHORIZED
POST = {"content-type": "application/ocsp-request"}
SUBJECT = LegalPerson("Another Seal", "Test Organisation", "NTRCH-1", "CH")


async def seal_of(api) -> tuple[x509.Certificate, x509.Certificate]:
    seal = (await (await api.operator.seals()).all(api.account))[0]
    leaf, issuer = (x509.load_der_x509_certificate(one) for one in seal.chain[:2])
    return leaf, issuer


def plain(serial: int, issuer: x509.Certificate, extensions: bytes = b"") -> bytes:
    """An OCSPRequest for one certificate, with requestExtensions as they are given."""
    return several([serial], issuer, extensions)


def several(serials: list[int], issuer: x509.Certificate, extensions: bytes = b"") -> bytes:
    key = issuer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    name_hash = hashlib.sha1(issuer.subject.public_bytes()).digest()
    wanted = []
    for serial in serials:
        name = der.sequence(der.oid("1.3.14.3.2.26"), der.encode(der.NULL, b""))
        wanted.append(
            der.sequence(
                der.sequence(
                    name,
                    der.octet_string(name_hash),
                    der.octet_string(hashlib.sha1(key).digest()),
                    der.integer(serial),
                )
            )
        )
    return der.sequence(der.sequence(der.sequence(*wanted), extensions))


def nonce(value: bytes, *, times: int = 1) -> bytes:
    one = der.sequence(der.oid("1.3.6.1.5.5.7.48.1.2"), der.octet_string(der.octet_string(value)))
    return der.encode(0xA2, der.sequence(*[one] * times))


def openssl(*words: str, cwd: Path) -> str:
    done = subprocess.run(["openssl", *words], check=False, cwd=cwd, capture_output=True, text=True)
    return done.stdout + done.stderr


async def posted(api, request: bytes) -> ocsp.OCSPResponse:
    answer = await api.http.post("/ocsp", content=request, headers=POST)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return ocsp.load_der_ocsp_response(answer.content)


def test_every_form_of_a_request_in_an_address(service) -> None:
    async def scenario(api) -> None:
        leaf, issuer = await seal_of(api)
        kept = plain(leaf.serial_number, issuer)
        slashes = plain(leaf.serial_number, issuer, nonce(b"\xff" * 32))
        plus = [
            plain(leaf.serial_number, issuer, nonce(b"x" * at + b"\xfb\xef\xbe" * 10))
            for at in range(3)  # one of them begins where base64 does
        ]
        texts = [base64.b64encode(one).decode() for one in (kept, slashes, *plus)]
        assert "//" in texts[1]
        assert any("++" in text for text in texts)
        assert any(text.endswith("=") for text in texts)
        for text in texts:
            everything = "".join(f"%{byte:02x}" for byte in text.encode())
            for form in (text, quote(text, safe=""), quote(text, safe="/"), everything):
                got = await api.http.get(f"/ocsp/{form}")
                assert got.headers["content-type"] == "application/ocsp-response"
                read = ocsp.load_der_ocsp_response(got.content)
                assert read.certificate_status is GOOD, form
        for bad in ("!!", texts[0][:-3], "%", "a/b/c", texts[0] + "!", "A" * 20_000):
            got = await api.http.get(f"/ocsp/{bad}")
            assert ocsp.load_der_ocsp_response(got.content).response_status is MALFORMED
            assert got.headers["cache-control"] == "no-store"

    service(scenario)


def test_caches_may_keep_what_is_the_same_for_everybody(service) -> None:
    async def scenario(api) -> None:
        leaf, issuer = await seal_of(api)
        request = plain(leaf.serial_number, issuer)
        address = f"/ocsp/{quote(base64.b64encode(request).decode(), safe='')}"
        got = await api.http.get(address)
        read = ocsp.load_der_ocsp_response(got.content)
        assert parsedate_to_datetime(got.headers["last-modified"]) == read.this_update_utc
        assert parsedate_to_datetime(got.headers["expires"]) == read.next_update_utc
        words = [word.strip() for word in got.headers["cache-control"].split(",")]
        assert set(words[1:]) == {"public", "no-transform", "must-revalidate"}
        assert 3500 < int(words[0].removeprefix("max-age=")) <= 3600
        tag = got.headers["etag"]
        for known in (tag, f'"x", W/{tag}'):
            again = await api.http.get(address, headers={"if-none-match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
        other = await api.http.get(address, headers={"if-none-match": '"x"'})
        assert (other.status_code, other.content) == (200, got.content)

        for alone in (
            plain(leaf.serial_number, issuer, nonce(b"n" * 32)),
            plain(leaf.serial_number + 1, issuer),
            several([leaf.serial_number, leaf.serial_number + 1], issuer),
        ):
            form = quote(base64.b64encode(alone).decode(), safe="")
            one = await api.http.get(f"/ocsp/{form}")
            assert one.headers["cache-control"] == "no-store"
            assert "etag" not in one.headers

        book = await api.operator.seals()
        await book.revoke(api.account, api.seal, "keyCompromise")
        after = await api.http.get(address, headers={"if-none-match": tag})
        assert after.status_code == 200
        assert ocsp.load_der_ocsp_response(after.content).certificate_status is REVOKED
        for path in ("/crl/issuing.crl", "/certs/issuing.cer", "/certs/root.cer"):
            first = await api.http.get(path)
            assert "must-revalidate" in first.headers["cache-control"]
            same = await api.http.get(path, headers={"if-none-match": first.headers["etag"]})
            assert same.status_code == 304

    service(scenario)


def test_nonces(service) -> None:
    async def scenario(api) -> None:
        leaf, issuer = await seal_of(api)
        for size in (1, 2, 16, 32, 33, 127, 128):
            value = os.urandom(size)
            read = await posted(api, plain(leaf.serial_number, issuer, nonce(value)))
            echoed = read.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
            assert echoed == value
            assert read.certificate_status is GOOD
        wrong = der.sequence(der.oid("1.3.6.1.5.5.7.48.1.2"), der.octet_string(b"bare"))
        for bad in (
            nonce(b""),
            nonce(os.urandom(129)),
            nonce(b"n" * 32, times=2),
            der.encode(0xA2, der.sequence(wrong)),
        ):
            read = await posted(api, plain(leaf.serial_number, issuer, bad))
            assert read.response_status is MALFORMED

    service(scenario)


def test_other_extensions(service) -> None:
    async def scenario(api) -> None:
        leaf, issuer = await seal_of(api)
        for critical, status in ((b"", ocsp.OCSPResponseStatus.SUCCESSFUL), (b"\x01\x01\xff", MALFORMED)):  # fmt: skip
            unknown = der.sequence(der.oid("1.3.6.1.4.1.32473.9"), critical, der.octet_string(b""))
            extensions = der.encode(0xA2, der.sequence(unknown))
            read = await posted(api, plain(leaf.serial_number, issuer, extensions))
            assert read.response_status is status

    service(scenario)


def test_several_certificates_in_one_request(service) -> None:
    async def scenario(api) -> None:
        leaf, issuer = await seal_of(api)
        made = await api.operator.authority.issue_signing(SUBJECT, algorithm=KeyAlgorithm.P256)
        await api.operator.authority.revoke(made.serial, "superseded", at=datetime.now(UTC))
        asked = [leaf.serial_number, made.serial, leaf.serial_number + 1]
        read = await posted(api, several(asked, issuer, nonce(b"n" * 32)))
        singles = {one.serial_number: one for one in read.responses}
        found = [singles[serial].certificate_status for serial in asked]
        assert found == [GOOD, REVOKED, UNKNOWN]
        assert singles[made.serial].revocation_reason is x509.ReasonFlags.superseded
        PkixLinter().ocsp_response(read.public_bytes(Encoding.DER))

        most = [leaf.serial_number + n for n in range(statuses.MOST_CERTIFICATES)]
        assert len(list((await posted(api, several(most, issuer))).responses)) == len(most)
        too_many = await posted(api, several([*most, 1], issuer))
        assert too_many.response_status is MALFORMED
        assert (await posted(api, several([], issuer))).response_status is MALFORMED

        # Of two authorities in one request nobody can speak: a responder is one authority's.
        root = x509.load_der_x509_certificate(await api.operator.authority.trust_anchor())
        first = der.only(plain(leaf.serial_number, issuer)).children().sequence().take().content
        second = der.only(plain(issuer.serial_number, root)).children().sequence().take().content
        mixed = der.sequence(der.sequence(der.sequence(first, second)))
        assert (await posted(api, mixed)).response_status is UNAUTHORIZED

    service(scenario)


@pytest.mark.parametrize("database_url", [None], ids=["sqlite"])
def test_openssl_asks(service, tmp_path: Path) -> None:
    """As a client makes its requests, several certificates and a nonce in each."""

    async def scenario(api) -> None:
        leaf, issuer = await seal_of(api)
        made = await api.operator.authority.issue_signing(SUBJECT, algorithm=KeyAlgorithm.P256)
        await api.operator.authority.revoke(made.serial, "keyCompromise", at=datetime.now(UTC))
        root = x509.load_der_x509_certificate(await api.operator.authority.trust_anchor())
        other = x509.load_der_x509_certificate(made.certificate)
        for name, one in (("leaf", leaf), ("other", other), ("issuer", issuer), ("root", root)):
            (tmp_path / f"{name}.pem").write_bytes(one.public_bytes(Encoding.PEM))
        words = [
            *("ocsp", "-issuer", "issuer.pem", "-cert", "leaf.pem"),
            *("-cert", "other.pem", "-CAfile", "root.pem"),
        ]
        asked = await asyncio.to_thread(openssl, *words, "-reqout", "request.der", cwd=tmp_path)
        request = (tmp_path / "request.der").read_bytes()
        answer = await api.http.post("/ocsp", content=request, headers=POST)
        (tmp_path / "answer.der").write_bytes(answer.content)
        judged = await asyncio.to_thread(
            openssl,
            *("ocsp", "-issuer", "issuer.pem", "-CAfile", "root.pem", "-resp_text"),
            *("-reqin", "request.der", "-respin", "answer.der"),
            cwd=tmp_path,
        )
        assert "Response verify OK" in judged, asked
        assert "Nonce" not in judged.replace("OCSP Nonce", "")  # no warning
        assert judged.count("Cert Status: good") == 1
        assert judged.count("Cert Status: revoked") == 1
        assert "Revocation Reason: keyCompromise" in judged

    service(scenario)


def test_what_is_not_a_request(service) -> None:
    async def scenario(api) -> None:
        leaf, issuer = await seal_of(api)
        good = plain(leaf.serial_number, issuer, nonce(b"n" * 32))
        for bad in (b"", b"\x30", good[:-1], good + b"\x00", der.sequence(), os.urandom(300)):
            assert (await posted(api, bad)).response_status is MALFORMED
        for at in range(len(good)):  # one octet of it is another
            for change in (1, 0x80):
                changed = good[:at] + bytes([good[at] ^ change]) + good[at + 1 :]
                answer = await api.operator.authority.ocsp(changed)
                read = ocsp.load_der_ocsp_response(answer)
                if read.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
                    continue
                assert read.certificate_status is not GOOD or (
                    read.serial_number == leaf.serial_number
                )

    service(scenario)
