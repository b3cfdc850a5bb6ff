"""I6: no endpoint is an oracle. What a forger would want signed is sent as a hash, everywhere.

With signed attributes of its own making a forger would have a signature of another document; with a
TBSCertificate a certificate; with a TSTInfo a timestamp of any time; with a ResponseData the word of
the authority that a revoked certificate is good. Raw credentials alone sign what they are sent, and
their certificates say so.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import described
import pytest
from asn1crypto import cms as asn1_cms
from asn1crypto import tsp as asn1_tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from csc_calls import ECDSA, RSA, SHA256, Csc, refused

from hashseal_core import cms, tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm, KeyAlgorithm
from hashseal_core.certificates import RAW_SIGNING
from hashseal_server.main import now
from hashseal_server.pki.model import LegalPerson
from hashseal_server.remote_signing import raw_credentials

SUBJECT = LegalPerson("Raw", "Test Organisation", "NTRCH-1", "CH")
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
DOCUMENT_SIGNING = "1.3.6.1.5.5.7.3.36"
EVIL = hashlib.sha256(b"a document that nobody signed").digest()


async def wanted_by_a_forger(api: Any) -> dict[str, bytes]:
    """To-be-signed bytes, each right for the key that it is meant for."""
    seal = (await api.operator.seal_store.all(api.account))[0]
    issuing = x509.load_der_x509_certificate((await api.http.get("/certs/issuing.cer")).content)
    unit = (await api.operator.authority.units())[0]
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Evil Issuing CA")])
    at = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuing.subject)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=1))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    leaf = x509.load_der_x509_certificate(seal.chain[0])
    good = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            leaf, issuing, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD,
            at, at + timedelta(days=1), None, None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, certificate)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    info = tsp.tst_info(
        tsp.TokenContent(
            policy="1.3.6.1.4.1.32473.1.2",
            digest=Digest(DigestAlgorithm.SHA256, EVIL),
            serial=7,
            generated_at=datetime(2020, 1, 1, tzinfo=UTC),
            accuracy_ms=1000,
            nonce=None,
        )
    )
    evil = Digest(DigestAlgorithm.SHA256, EVIL)
    return {
        **{
            f"signed attributes of seal {number}": cms.signed_attributes(evil, one.chain[0])
            for number, one in enumerate(await api.operator.seal_store.all(api.account))
        },
        "attributes of a token": tsp.signed_attributes(info, unit.certificate),
        "TSTInfo": info,
        "TBSCertificate": certificate.tbs_certificate_bytes,
        "ResponseData": good.tbs_response_bytes,
    }


async def public_keys(api: Any) -> list[Any]:
    """Of everybody who signs here."""
    seals = await api.operator.seal_store.all(api.account)
    units = await api.operator.authority.units()
    authorities = (await api.operator.authority.authorities.all(fresh=True)).values()
    responders = [one.responder.certificate for one in authorities if one.responder]
    certificates = [
        *(one for seal in seals for one in seal.chain),
        *(one.certificate for one in units),
    ]
    found = {one: x509.load_der_x509_certificate(one).public_key() for one in certificates}
    assert any(isinstance(one, rsa.RSAPublicKey) for one in found.values())
    return [*found.values(), *(one.public_key() for one in responders)]


def verifies(key: Any, signature: bytes, value: bytes) -> bool:
    """It is a signature of whatever has this SHA-256, by any scheme."""
    hashed = utils.Prehashed(hashes.SHA256())
    tries: list[tuple[Any, ...]] = [(ec.ECDSA(hashed),)]
    if isinstance(key, rsa.RSAPublicKey):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
        tries = [(padding.PKCS1v15(), hashed), (pss, hashed)]
    for one in tries:
        try:
            key.verify(signature, value, *one)
        except InvalidSignature:
            continue
        return True
    return False


def values_in(signed_data: bytes) -> Iterator[bytes]:
    """The signature value of a SignedData, and that of the token in it."""
    signer = asn1_cms.ContentInfo.load(signed_data)["content"]["signer_infos"][0]
    yield signer["signature"].native
    for attribute in signer["unsigned_attrs"] or ():
        yield from values_in(attribute["values"][0].dump())


SIGNS_WHAT_COMES = frozenset(
    {"signDocuments", "timestampDocument", "timestamp"}
    | {f"cscV{n}Signatures{method}" for n in (1, 2) for method in ("SignDoc", "Timestamp")}
)
"""Operations that take a hash and answer with signatures; `answers` asks each."""
RAW = frozenset({"cscV1SignaturesSignHash", "cscV2SignaturesSignHash"})
"""What signs a hash as it is, with a raw credential."""
SIGNS_NOTHING_THAT_COMES: Mapping[str, frozenset[str]] = {
    "statements of the authority about its own certificates": frozenset(
        {"status", "statusByAddress", "revocationList", "issuerCertificate", "collectValidation"}
    ),
    "secrets, and nothing that was signed": frozenset(
        {"createToken", "rotateToken", "regenerateToken", "createClient", "rotateClient",
         "getAccessToken", "cscV1AccessToken", "cscV2AccessToken", "createWebhook",
         "rotateWebhookSecret", "cscV1CredentialsAuthorize", "cscV2CredentialsAuthorize",
         "cscV1CredentialsExtendTransaction", "cscV2CredentialsExtendTransaction"}
    ),
    "what is kept of seals and signatures": frozenset(
        {"listSeals", "showSeal", "showAppearance", "listSignatures", "showSignature",
         "cscV1CredentialsList", "cscV2CredentialsList", "cscV1CredentialsInfo",
         "cscV2CredentialsInfo"}
    ),
    "words about the account and the service": frozenset(
        {"showAccount", "showUsage", "showOrder", "listTokens", "revokeToken", "listClients",
         "revokeClient", "revokeAccessToken", "cscV1RevokeAccessToken", "cscV2RevokeAccessToken",
         "listEvents", "listWebhooks", "showWebhook", "updateWebhook", "removeWebhook",
         "testWebhook", "listDeliveries", "redeliver", "health", "ready", "metrics", "openapi",
         "docs", "cscV1Info", "cscV2Info"}
    ),
}  # fmt: skip
"""Every other operation, by what it answers with instead."""


def test_every_operation_of_the_document_is_classified() -> None:
    named = [SIGNS_WHAT_COMES, RAW, *SIGNS_NOTHING_THAT_COMES.values()]
    assert sorted(one for names in named for one in names) == sorted(
        one.name for one in described.operations()
    ), "say what a new operation signs; if it signs what comes, ask it in `answers`"


async def answers(api: Any, digest: str) -> dict[str, list[bytes]]:
    """What every operation that signs makes of a hash, as signature values."""
    found: dict[str, list[bytes]] = {}

    def keep(path: str, *signed: str | bytes) -> None:
        operation = described.operation_of("post", path)
        assert operation is not None
        octets = [base64.b64decode(one) if isinstance(one, str) else one for one in signed]
        values = [value for one in octets for value in values_in(one)]
        assert values
        found.setdefault(operation.name, []).extend(values)

    seals = await api.operator.seal_store.all(api.account)
    for seal in seals:
        body = {"seal_id": seal.id, "level": "B-LTA", "hashes": [digest]}
        native = (await api.post("/v1/documents/sign", body)).json()["signatures"][0]
        keep("/v1/documents/sign", native["signature"], native["timestamp"]["token"])
    follow = {"signature_id": native["id"], "hash": digest}
    token = (await api.post("/v1/timestamps", follow)).json()["timestamp"]["token"]
    keep("/v1/timestamps", token)
    query = tsp.build_request(Digest(DigestAlgorithm.SHA256, base64.b64decode(digest)), nonce=1)
    sent = {"content-type": "application/timestamp-query"}
    reply = (await api.http.post("/tsa", content=query, headers=sent)).content
    keep("/tsa", asn1_tsp.TimeStampResp.load(reply)["time_stamp_token"].dump())
    ways = [
        (seal.id, form, level, algorithm, version)
        for form, level, version in (("P", "Ades-B-LTA", "v2"), ("C", "Ades-B-T", "v1"))
        for seal, algorithm in zip(seals, map(sign_algo, seals), strict=True)
    ]
    for seal_id, form, level, algorithm, version in ways:
        csc = Csc(api, version=version)
        asked = {"credentialID": seal_id, "hashes": [digest], "numSignatures": 1}
        sad = (await csc.post("credentials/authorize", asked)).json()["SAD"]
        entry = {
            "hashes": [digest],
            "hashAlgorithmOID": SHA256,
            "signature_format": form,
            "conformance_level": level,
            "signAlgo": algorithm,
        }
        asked = {"credentialID": seal_id, "SAD": sad, "documentDigests": [entry]}
        answer = (await csc.post("signatures/signDoc", asked)).json()
        keep(f"/csc/{version}/signatures/signDoc", *answer["SignatureObject"])
    for version in ("v1", "v2"):
        asked = {"hash": digest, "hashAlgo": SHA256}
        answer = (await Csc(api, version=version).post("signatures/timestamp", asked)).json()
        keep(f"/csc/{version}/signatures/timestamp", answer["timestamp"])
    assert set(found) == SIGNS_WHAT_COMES
    return found


def sign_algo(seal: Any) -> str:
    key = x509.load_der_x509_certificate(seal.chain[0]).public_key()
    return RSA if isinstance(key, rsa.RSAPublicKey) else ECDSA


@SQLITE
@pytest.mark.parametrize("other_settings", [{"raw_signing": True}])
def test_nothing_verifies_over_chosen_bytes_but_with_a_raw_credential(service) -> None:
    async def scenario(api) -> None:
        book = await api.operator.seals()
        await book.create(api.account, SUBJECT, kind="official", algorithm=KeyAlgorithm.RSA3072)
        csc, keys, tried = Csc(api), await public_keys(api), 0
        raw = await raw_credentials(api.operator, now).create(
            api.account, SUBJECT, algorithm=KeyAlgorithm.P256
        )
        leaf = x509.load_der_x509_certificate(raw.chain[0])
        for what, chosen in (await wanted_by_a_forger(api)).items():
            value = hashlib.sha256(chosen).digest()
            digest = base64.b64encode(value).decode()
            given = await answers(api, digest)
            for name, signatures in given.items():
                for signature in signatures:
                    for key in keys:
                        assert not verifies(key, signature, value), (name, what)
                        tried += 1
            # A seal's hash is signed by no method as it is.
            asked = {"credentialID": api.seal, "hashes": [digest], "numSignatures": 1}
            sad = (await csc.post("credentials/authorize", asked)).json()["SAD"]
            asked = {"SAD": sad, "hashes": [digest], "hashAlgo": SHA256, "signAlgo": ECDSA}
            for credential in (api.seal, raw.id):
                body = {**asked, "credentialID": credential}
                refused(await csc.post("signatures/signHash", body), "Invalid parameter")
            # A raw credential signs it, and that is all that it is good for.
            body = {"credentialID": raw.id, "hashes": [digest], "numSignatures": 1}
            sad = (await csc.post("credentials/authorize", body)).json()["SAD"]
            body = {**asked, "credentialID": raw.id, "SAD": sad}
            answer = await csc.post("signatures/signHash", body)
            signature = base64.b64decode(answer.json()["signatures"][0])
            assert verifies(leaf.public_key(), signature, value)
            assert not any(verifies(key, signature, value) for key in keys)
        assert tried > 100

    service(scenario)


@SQLITE
@pytest.mark.parametrize("other_settings", [{"raw_signing": True, "raw_policy": "1.2.3.4.5"}])
def test_a_raw_certificate_says_what_it_is(service) -> None:
    async def scenario(api) -> None:
        raw = await raw_credentials(api.operator, now).create(
            api.account, SUBJECT, algorithm=KeyAlgorithm.P256
        )
        leaf = asn1_x509.Certificate.load(raw.chain[0])
        assert [one.dotted for one in leaf.extended_key_usage_value] == [RAW_SIGNING]
        assert DOCUMENT_SIGNING != RAW_SIGNING
        assert ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string != RAW_SIGNING
        policies = [one["policy_identifier"].dotted for one in leaf.certificate_policies_value]
        assert policies == ["1.2.3.4.5"]
        assert leaf.key_usage_value.native == {"digital_signature"}
        seal = (await api.operator.seal_store.all(api.account))[0]
        named = asn1_x509.Certificate.load(seal.chain[0])
        assert DOCUMENT_SIGNING in {one.dotted for one in named.extended_key_usage_value}
        assert policies[0] not in {
            one["policy_identifier"].dotted for one in named.certificate_policies_value
        }
        assert RAW_SIGNING not in {one.dotted for one in named.extended_key_usage_value}
        # It is no seal: the native API neither lists it nor signs with it.
        assert raw.id not in (await api.get("/v1/seals")).text
        assert (await api.get(f"/v1/seals/{raw.id}")).status_code == 404
        assert (await api.sign("x", seal_id=raw.id)).json()["code"] == "seal-not-found"

    service(scenario)


@SQLITE
def test_raw_signing_is_off_unless_the_operator_wants_it(service) -> None:
    async def scenario(api) -> None:
        from hashseal_core.errors import ConfigurationInvalid

        with pytest.raises(ConfigurationInvalid, match="raw_signing"):
            await raw_credentials(api.operator, now).create(
                api.account, SUBJECT, algorithm=KeyAlgorithm.P256
            )
        csc = Csc(api)
        assert "signatures/signHash" not in (await csc.post("info", {})).json()["methods"]
        body = {"credentialID": api.seal, "SAD": "x", "hashes": ["AAAA"], "signAlgo": ECDSA}
        refused(await csc.post("signatures/signHash", body), "not implemented", 501)

    service(scenario)
