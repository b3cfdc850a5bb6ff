"""Timestamps, status and revocation over HTTP, judged by OpenSSL."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from hashseal_core import tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm, KeyAlgorithm, SignatureScheme
from hashseal_core.errors import InvalidValue, LintFailed, NotFound
from hashseal_server.pki.lint import PkixLinter
from hashseal_server.pki.model import LegalPerson, NaturalPerson, Role

DIGEST = Digest(DigestAlgorithm.SHA256, hashlib.sha256(b"words").digest())


def pem(folder: Path, name: str, der: bytes) -> str:
    path = folder / name
    path.write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
    return str(path)


def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)


def test_openssl_accepts_the_timestamp_authority(service, tmp_path: Path) -> None:
    async def scenario(api) -> None:
        root = pem(tmp_path, "root.pem", await api.operator.authority.trust_anchor())
        issuing = (await api.http.get("/certs/issuing.cer")).content
        issuing_pem = pem(tmp_path, "issuing.pem", issuing)
        for name, wanted in (("with", True), ("without", False)):
            query = tsp.build_request(DIGEST, nonce=7, certificate_wanted=wanted)
            answer = await api.http.post(
                "/tsa", content=query, headers={"content-type": "application/timestamp-query"}
            )
            assert answer.headers["content-type"] == "application/timestamp-reply"
            (tmp_path / f"{name}.tsq").write_bytes(query)
            (tmp_path / f"{name}.tsr").write_bytes(answer.content)
            unit = pem(tmp_path, "tsu.pem", (await api.operator.timestamps()).tsu_certificate)
            bundle = tmp_path / "bundle.pem"
            bundle.write_text(Path(issuing_pem).read_text() + Path(unit).read_text())
            judged = openssl(
                *("ts", "-verify", "-in", str(tmp_path / f"{name}.tsr")),
                *("-queryfile", str(tmp_path / f"{name}.tsq"), "-CAfile", root),
                *("-untrusted", str(bundle)),
            )
            assert "Verification: OK" in judged.stdout, judged.stderr

    service(scenario)


def test_the_authority_refuses_with_the_right_fail_info(service) -> None:
    async def scenario(api) -> None:
        good = tsp.build_request(DIGEST)
        sha1 = good.replace(
            bytes.fromhex("0609608648016503040201"), bytes.fromhex("0609608648016503040209")
        )
        unit = await api.operator.timestamps()
        policy = tsp.build_request(DIGEST, policy="1.2.3.4")
        expected = ((b"junk", 5), (sha1, 0), (policy, 15), (good[:-2], 5))
        for query, bit in expected:
            assert (await unit.respond(query)).startswith(b"\x30")
            with pytest.raises(Exception, match="refused"):
                tsp.token_of_response(await unit.respond(query))
            flags = (await unit.respond(query))[-(bit // 8 + 1) :]
            assert flags[-1] == 0x80 >> bit % 8
        wrong = await api.http.post("/tsa", content=good, headers={"content-type": "text/plain"})
        assert wrong.json()["code"] == "unsupported-media-type"
        long = await api.http.post(
            "/tsa", content=bytes(5000), headers={"content-type": "application/timestamp-query"}
        )
        assert long.json()["code"] == "malformed-request"

    service(scenario)


def test_status_of_certificates(service, tmp_path: Path) -> None:
    async def scenario(api) -> None:
        authority = api.operator.authority
        seal = (await (await api.operator.seals()).all(api.account))[0]
        leaf = x509.load_der_x509_certificate(seal.chain[0])
        issuing = x509.load_der_x509_certificate(seal.chain[1])

        async def asked(serial: int, nonce: bytes | None = None) -> ocsp.OCSPResponse:
            name = hashlib.sha256(issuing.subject.public_bytes()).digest()
            spki = issuing.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            del spki
            request = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuing, hashes.SHA256())
            built = request.build()
            again = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
                name, built.issuer_key_hash, serial, hashes.SHA256()
            )
            if nonce:
                again = again.add_extension(x509.OCSPNonce(nonce), critical=False)
            der = again.build().public_bytes(Encoding.DER)
            posted = await api.http.post(
                "/ocsp", content=der, headers={"content-type": "application/ocsp-request"}
            )
            got = await api.http.get(f"/ocsp/{base64.b64encode(der).decode()}")
            assert got.headers["content-type"] == "application/ocsp-response"
            return ocsp.load_der_ocsp_response(posted.content)

        good = await asked(leaf.serial_number, b"nonce-1234")
        assert good.certificate_status is ocsp.OCSPCertStatus.GOOD
        assert good.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"nonce-1234"
        unknown = await asked(leaf.serial_number + 1)
        assert unknown.certificate_status is ocsp.OCSPCertStatus.UNKNOWN
        at = leaf.not_valid_before_utc
        await authority.revoke(leaf.serial_number, "keyCompromise", at=at)
        revoked = await asked(leaf.serial_number)
        assert revoked.certificate_status is ocsp.OCSPCertStatus.REVOKED
        assert revoked.revocation_reason is x509.ReasonFlags.key_compromise
        crl = x509.load_der_x509_crl((await api.http.get("/crl/issuing.crl")).content)
        assert crl.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None
        assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number > 1
        with pytest.raises(NotFound):
            await authority.revoke(leaf.serial_number, "keyCompromise", at=at)
        with pytest.raises(InvalidValue):
            await authority.revoke(leaf.serial_number, "certificateHold", at=at)
        junk = await api.http.get("/ocsp/!!")
        malformed = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
        assert ocsp.load_der_ocsp_response(junk.content).response_status is malformed
        for path in ("/crl/none.crl", "/crl/issuing", "/certs/none.cer"):
            assert (await api.http.get(path)).json()["code"] == "not-found"

    service(scenario)


PERSON = NaturalPerson("Test", "Person", "PNOCH-1", "CH", "Test Person")
SUBJECTS = (LegalPerson("Test Seal", "Test Organisation", "NTRCH-1", "CH"), PERSON)


@pytest.mark.parametrize(
    "algorithm", [KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.P521, KeyAlgorithm.RSA3072]
)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_profile_passes_the_linter_and_openssl(
    service, tmp_path: Path, algorithm: KeyAlgorithm, subject
) -> None:
    async def scenario(api) -> None:
        issued = await api.operator.authority.issue_signing(subject, algorithm=algorithm)
        PkixLinter().certificate(issued.certificate, issued.role)
        names = [pem(tmp_path, f"{n}.pem", der) for n, der in enumerate(issued.chain)]
        judged = openssl("verify", "-x509_strict", "-CAfile", names[2], "-untrusted", *names[1::-1])
        assert judged.stdout.strip().endswith("OK"), judged.stderr
        material = await api.operator.authority.material_for(issued.certificate)
        for response in material.ocsp_responses:
            PkixLinter().ocsp_response(response)
        for crl in material.crls:
            PkixLinter().crl(crl)
        again = await api.operator.authority.material_for(issued.certificate)
        assert again is material
        assert (await api.operator.authority.find(issued.serial)).chain == issued.chain

    service(scenario)


def test_bad_subjects_are_refused_before_anything_is_signed(service) -> None:
    async def scenario(api) -> None:
        issue = api.operator.authority.issue_signing
        bad = [
            LegalPerson("x", "x", "no syntax", "CH"),
            LegalPerson("", "x", "NTRCH-1", "CH"),
            LegalPerson("a\u202eb", "x", "NTRCH-1", "CH"),
            LegalPerson("x", "x", "NTRCH-1", "Switzerland"),
        ]
        for subject in bad:
            with pytest.raises(InvalidValue):
                await issue(subject, algorithm=KeyAlgorithm.P256)
        with pytest.raises(InvalidValue):
            await issue(bad[0], algorithm=KeyAlgorithm.RSA2048)
        root = await api.operator.authority.trust_anchor()
        with pytest.raises(LintFailed):
            PkixLinter().certificate(root, Role.SEAL)
        with pytest.raises(NotFound):
            await api.operator.authority.find(1)
        book = await api.operator.seals()
        good = SUBJECTS[0]
        with pytest.raises(InvalidValue):
            await book.create(api.account, good, kind="round", algorithm=KeyAlgorithm.P256)
        with pytest.raises(InvalidValue):
            await book.create(
                api.account, good, kind="official", algorithm=KeyAlgorithm.P256, pss=True
            )
        made = await book.create(
            api.account, good, kind="official", algorithm=KeyAlgorithm.RSA3072, pss=True
        )
        assert made.scheme is SignatureScheme.RSA_PSS
        assert (await api.sign("one", seal_id=made.id, level="B-LT")).status_code == 200

    service(scenario)
