"""I7: a signature that does not verify never leaves, whoever made it wrong."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest
from books import check_books
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from sqlalchemy import text
from subjects import certificate_for

from hashseal_core import tsp
from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_core.errors import FaultySignature, HashsealError
from hashseal_server.keystore import verified
from hashseal_server.keystore.port import DocumentOrder
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.software import SoftwareKeyStore
from hashseal_server.pki.model import LegalPerson

Faulty = Callable[[], None]
SYSTEM_FAILURE = b"\x03\x05\x06" + (0x80000000 >> 25).to_bytes(4, "big")
"""PKIFailureInfo with bit 25 alone, as a BIT STRING: six bits of the last octet are unused."""


def flipped(value: bytes) -> bytes:
    """The same length and shape, another number: the lowest bit of the last octet."""
    return value[:-1] + bytes([value[-1] ^ 1])


@pytest.fixture
def break_keys(monkeypatch: pytest.MonkeyPatch) -> Faulty:
    """From now on every signature that the key store makes is wrong, and it does not notice."""

    def broken() -> None:
        real = SoftwareKeyStore.sign
        monkeypatch.setattr(SoftwareKeyStore, "sign", lambda *a: flipped(real(*a)))

    return broken


def test_no_signature_and_no_charge(service, break_keys: Faulty) -> None:
    async def scenario(api) -> None:
        assert (await api.sign("good")).status_code == 200
        break_keys()
        for level in ("B-B", "B-T", "B-LT"):
            answer = await api.sign("bad", level=level)
            assert answer.status_code == 503
            assert answer.json()["code"] in {"faulty-signature", "timestamp-unavailable"}
            assert 'signature":' not in answer.text
        assert await api.left() == (99, 0)
        assert await check_books(api.operator.database) == 1

    service(scenario)


def test_no_timestamp(service, break_keys: Faulty) -> None:
    async def scenario(api) -> None:
        signed = (await api.sign("good", level="B-T")).json()
        break_keys()
        query = tsp.build_request(
            Digest(DigestAlgorithm.SHA256, hashlib.sha256(b"query").digest()), nonce=1
        )
        headers = {"content-type": "application/timestamp-query"}
        answer = await api.http.post("/tsa", content=query, headers=headers)
        with pytest.raises(HashsealError, match="refused"):
            tsp.token_of_response(answer.content)
        assert answer.content.endswith(SYSTEM_FAILURE)
        body = {
            "signature_id": signed["signatures"][0]["id"],
            "hash": base64.b64encode(hashlib.sha256(b"file").digest()).decode(),
        }
        follow = await api.post("/v1/timestamps", body)
        assert (follow.status_code, follow.json()["code"]) == (503, "timestamp-unavailable")

    service(scenario)


def test_no_status_response(service, break_keys: Faulty) -> None:
    async def scenario(api) -> None:
        issuing, root = [
            x509.load_der_x509_certificate((await api.http.get(f"/certs/{name}.cer")).content)
            for name in ("issuing", "root")
        ]
        request = ocsp.OCSPRequestBuilder().add_certificate(issuing, root, hashes.SHA1()).build()
        break_keys()
        answer = await api.operator.authority.ocsp(request.public_bytes(Encoding.DER))
        read = ocsp.load_der_ocsp_response(answer)
        assert read.response_status is ocsp.OCSPResponseStatus.TRY_LATER

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_signature_over_a_digest_itself(service, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(api) -> None:
        keys = api.operator.keystore
        key = keys.generate(KeyAlgorithm.P256, Purpose.RAW, api.account)
        asked = [Digest(DigestAlgorithm.SHA256, hashlib.sha256(b"chosen").digest())]
        certificate = certificate_for(keys.public_key(key))
        algorithm = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
        order = DocumentOrder(api.account, key, certificate, algorithm, asked)
        assert len(verified.sign_digests_here(keys, order)) == 1
        real = SoftwareKeyStore.sign_digest
        monkeypatch.setattr(SoftwareKeyStore, "sign_digest", lambda *a: flipped(real(*a)))
        with pytest.raises(FaultySignature):
            verified.sign_digests_here(keys, order)

    service(scenario)


def test_no_certificate_and_no_revocation_list(service, break_keys: Faulty) -> None:
    async def scenario(api) -> None:
        book = await api.operator.seals()
        before = await api.operator.authority.crl("issuing")
        break_keys()
        subject = LegalPerson("Another Seal", "Test Organisation", "NTRCH-1", "CH")
        with pytest.raises(FaultySignature):
            await book.create(api.account, subject, kind="official", algorithm=KeyAlgorithm.P256)
        with pytest.raises(FaultySignature):
            await book.revoke(api.account, api.seal, "keyCompromise")
        assert await api.operator.authority.crl("issuing") == before
        async with api.operator.database.read() as connection:
            rows = await connection.execute(
                text("SELECT state, der FROM certificate WHERE der IS NULL")
            )
            assert tuple(rows.one()) == ("void", None)
        # Revoked it is all the same: no signature, no good status, though the list is late.
        assert (await api.sign("late")).json()["code"] == "seal-revoked"

    service(scenario)
