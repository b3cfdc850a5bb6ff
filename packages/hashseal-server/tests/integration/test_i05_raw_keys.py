"""I5 for digests: in a token too only keys that are made for it sign them, under their own kind."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from subjects import certificate_for
from tokens import Tokens, end

from hashseal_core import cms
from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
    longest_salt,
)
from hashseal_core.errors import KeystoreRefused
from hashseal_server.keystore import verified
from hashseal_server.keystore.authorisation import Authoriser
from hashseal_server.keystore.blocking import BlockingKeyStore
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.remote import DocumentOrder, RemoteSigners

pytestmark = pytest.mark.hsm
SHA256 = DigestAlgorithm.SHA256
ECDSA = SignatureAlgorithm(SignatureScheme.ECDSA, SHA256)
PKCS1 = SignatureAlgorithm(SignatureScheme.RSA_PKCS1, SHA256)
LONG = SignatureAlgorithm(SignatureScheme.RSA_PSS, SHA256, longest_salt(3072, SHA256))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokens]:
    purposes = {"seal": "seal", "raw": "raw", "ca": "ca", "ocsp": "ca", "tsu": "ca", "audit": "ca"}
    made = Tokens(tmp_path_factory.mktemp("raw") / "hsm", ("seal", "raw", "ca"), purposes)
    processes = made.start(1)
    yield made
    end(processes)


def test_only_raw_keys_sign_digests_and_they_sign_nothing_else(running: Tokens) -> None:
    async def scenario() -> None:
        authoriser = Authoriser(running.authorisation_key)
        signers = RemoteSigners(
            running.signers, now=lambda: datetime.now(UTC), authoriser=lambda: authoriser
        )
        digests = [Digest(SHA256, hashlib.sha256(b"%d" % one).digest()) for one in range(34)]
        orders = {}
        for purpose in (Purpose.RAW, Purpose.SEAL):
            for kind, algorithms in (
                (KeyAlgorithm.P256, (ECDSA,)),
                (KeyAlgorithm.RSA3072, (PKCS1, LONG)),
            ):
                key, spki = await signers.generate(purpose, kind, "acme")
                assert key.startswith(f"{purpose}.")
                certificate = certificate_for(spki, "acme")
                for algorithm in algorithms:
                    orders[purpose, algorithm] = DocumentOrder(
                        "acme", key, certificate, algorithm, digests
                    )
        for algorithm in (ECDSA, PKCS1, LONG):
            raw, seal = orders[Purpose.RAW, algorithm], orders[Purpose.SEAL, algorithm]
            values = await verified.sign_digests(signers, raw)
            assert len(values) == len(digests)
            for digest, value in zip(digests, values, strict=True):
                cms.verify_digest_value(raw.certificate, algorithm, digest, value)
            await verified.sign_documents(signers, replace(seal, signing_time=datetime.now(UTC)))
            await verified.sign_documents(signers, replace(seal, digests=digests[:1]))
            with pytest.raises(KeystoreRefused, match="another purpose"):
                await signers.sign_digests(seal)
            with pytest.raises(KeystoreRefused, match="another purpose"):
                await signers.sign_documents(raw)
            with pytest.raises(KeystoreRefused, match="form"):
                await signers.sign_structure(raw.key, b"hashseal audit checkpoint 1\n", algorithm)
        with pytest.raises(KeystoreRefused, match="another account"):
            await signers.sign_digests(replace(raw, account="evil", digests=digests[:1]))
        one_more = SignatureAlgorithm(SignatureScheme.RSA_PSS, SHA256, LONG.salt_length + 1)
        with pytest.raises(KeystoreRefused, match="salt"):
            await signers.sign_digests(replace(raw, algorithm=one_more, digests=digests[:1]))
        await signers.close()

    asyncio.run(scenario())
    # The authority's store of synchronous code makes such keys, and has no way to sign with them.
    keys = BlockingKeyStore(running.signers)
    key = keys.generate(KeyAlgorithm.P256, Purpose.RAW, "acme")
    with pytest.raises(KeystoreRefused):
        keys.sign(key, b"anything", ECDSA)
    assert not hasattr(keys, "sign_digest")
