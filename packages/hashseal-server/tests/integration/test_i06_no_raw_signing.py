"""I6: whatever the caller sends, the keys sign only structures that the service built."""

from __future__ import annotations

import base64
import hashlib
import json

import asn1crypto.tsp  # names the signing-certificate attributes
import pytest
from asn1crypto import cms as asn1_cms
from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from hashseal_core import tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_server.csc.api import ACTS
from hashseal_server.keystore.software import SoftwareKeyStore

assert asn1crypto.tsp
SIGNER = {"content_type", "message_digest", "signing_certificate_v2"}


def built_by_us(to_be_signed: bytes) -> str:
    """Which structure these octets are; the test fails when they are none."""
    if to_be_signed[0] == 0x31:
        attributes = asn1_cms.CMSAttributes.load(to_be_signed, strict=True)
        kinds = {attribute["type"].native for attribute in attributes}
        content = next(a for a in attributes if a["type"].native == "content_type")
        assert kinds >= SIGNER, kinds
        return f"cms {content['values'][0].native}"
    for shape in (asn1_ocsp.ResponseData, asn1_crl.TbsCertList, asn1_x509.TbsCertificate):
        try:
            assert shape.load(to_be_signed, strict=True).native
        except (ValueError, TypeError, KeyError):
            continue
        return shape.__name__
    raise AssertionError(to_be_signed[:40].hex())


@pytest.fixture
def signed_octets(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Everything that a key signs while the test runs; the real store does the signing."""
    seen: list[bytes] = []
    real = SoftwareKeyStore.sign

    def spy(self, key, to_be_signed, algorithm):
        seen.append(to_be_signed)
        return real(self, key, to_be_signed, algorithm)

    monkeypatch.setattr(SoftwareKeyStore, "sign", spy)
    return seen


def test_every_operation_signs_what_the_service_built(service, signed_octets) -> None:
    async def scenario(api) -> None:
        signed_octets.clear()
        answer = (await api.sign("one", "two", level="B-LT")).json()
        follow = {"signature_id": answer["signatures"][0]["id"]}
        follow["hash"] = base64.b64encode(hashlib.sha256(b"file").digest()).decode()
        assert (await api.post("/v1/timestamps", follow)).status_code == 200
        query = tsp.build_request(
            Digest(DigestAlgorithm.SHA256, hashlib.sha256(b"query").digest()), nonce=1
        )
        headers = {"content-type": "application/timestamp-query"}
        assert (await api.http.post("/tsa", content=query, headers=headers)).status_code == 200
        await (await api.operator.seals()).revoke(api.account, api.seal, "superseded")
        kinds = {built_by_us(octets) for octets in signed_octets}
        assert kinds == {"cms data", "cms tst_info", "ResponseData", "TbsCertList"}

    service(scenario)


def test_a_chosen_hash_is_never_what_a_key_signed(service, signed_octets) -> None:
    """The caller sends the hash of attributes of its own making, and gets no signature over them."""

    async def scenario(api) -> None:
        signed_octets.clear()
        wanted = asn1_cms.CMSAttributes(
            [
                asn1_cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
                asn1_cms.CMSAttribute({"type": "message_digest", "values": [b"\x07" * 32]}),
            ]
        ).dump()
        chosen = hashlib.sha256(wanted).digest()
        answer = await api.post(
            "/v1/documents/sign",
            {"seal_id": api.seal, "level": "B-T", "hashes": [base64.b64encode(chosen).decode()]},
        )
        signature = base64.b64decode(answer.json()["signatures"][0]["signature"])
        signer = asn1_cms.ContentInfo.load(signature)["content"]["signer_infos"][0]
        seal = (await (await api.operator.seals()).all(api.account))[0]
        public = x509.load_der_x509_certificate(seal.chain[0]).public_key()
        scheme = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
        value = signer["signature"].native
        public.verify(value, signer["signed_attrs"].untag().dump(), ec.ECDSA(hashes.SHA256()))
        with pytest.raises(InvalidSignature):
            public.verify(value, chosen, scheme)
        for octets in signed_octets:
            assert hashlib.sha256(octets).digest() != chosen
            assert octets not in {chosen, wanted}

    service(scenario)


def test_a_status_request_chooses_only_serial_and_nonce(service, signed_octets) -> None:
    async def scenario(api) -> None:
        issuing, root = [
            x509.load_der_x509_certificate((await api.http.get(f"/certs/{name}.cer")).content)
            for name in ("issuing", "root")
        ]
        signed_octets.clear()
        nonce = hashlib.sha256(b"chosen").digest()
        request = ocsp.OCSPRequestBuilder().add_certificate(issuing, root, hashes.SHA1())
        request = request.add_extension(x509.OCSPNonce(nonce), critical=False)
        sent = request.build().public_bytes(Encoding.DER)
        await api.http.post(
            "/ocsp", content=sent, headers={"content-type": "application/ocsp-request"}
        )
        assert [built_by_us(octets) for octets in signed_octets] == ["ResponseData"]
        assert nonce not in signed_octets

    service(scenario)


def test_there_is_no_operation_that_takes_octets_to_sign(service) -> None:
    async def scenario(api) -> None:
        described = json.loads((await api.http.get("/openapi.json")).content)
        sending = ("/v1/documents/", "/v1/timestamps", "/v1/validation", "/tsa", "/ocsp", "/csc/")
        posts = {path for path, item in described["paths"].items() if "post" in item}
        assert {path for path in posts if path.startswith(sending)} == {
            *("/v1/documents/sign", "/v1/timestamps", "/v1/validation", "/tsa", "/ocsp"),
            # See test_i06_forgery_oracle: signHash is there for raw credentials only.
            *(
                f"/csc/{version}/{method}"
                for version in ("v1", "v2")
                for method in (*ACTS, "oauth2/token", "oauth2/revoke")
            ),
        }
        refused = await api.post(
            "/v1/documents/sign",
            {"seal_id": api.seal, "hashes": [], "signed_attributes": "MQA="},
        )
        assert refused.json()["code"] in {"unknown-field", "invalid-value"}

    service(scenario)
