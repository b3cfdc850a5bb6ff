"""A key store double that misbehaves: it delays, fails, signs wrongly, loses its session, dies.

As a program it is a signer process over such keys: unreliable_keys.py FOLDER SECRET BEHAVIOUR
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from hashseal_core.algorithms import Digest, KeyAlgorithm, SignatureAlgorithm, SignatureScheme
from hashseal_core.cms.checking import hash_of, rsa_padding
from hashseal_core.errors import KeystoreRefused, KeystoreUnavailable
from hashseal_server.keystore.authorisation import Register
from hashseal_server.keystore.folder import SignerFolder
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.reference import owner_of
from hashseal_server.keystore.signer import Signer
from hashseal_server.keystore.signer_server import SignerServer


@dataclass(frozen=True)
class Behaviour:
    """Chances of 0 to 1 for each signature; `delay` in seconds."""

    delay: float = 0.0
    failing: float = 0.0
    faulty: float = 0.0
    losing: float = 0.0
    lost_for: float = 0.2
    dying: float = 0.0
    stuck: float = 180.0


class UnreliableKeys:
    """Keys in files of `folder`, which several processes share; as bad as `behaviour` says."""

    purposes = frozenset(Purpose)

    def __init__(self, folder: Path, behaviour: Behaviour | None = None) -> None:
        self._folder = folder
        self.behaviour = behaviour or Behaviour()
        self._lost_until = 0.0
        self._chance = random.Random()
        self.signatures = 0

    def generate(
        self, purpose: Purpose, algorithm: KeyAlgorithm, account: str
    ) -> tuple[str, bytes]:
        private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
        if algorithm.is_rsa:
            private = rsa.generate_private_key(65537, int(algorithm.value[4:]))
        else:
            curves = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
            private = ec.generate_private_key(curves[algorithm.value])
        reference = f"{purpose}.{secrets.token_hex(16)}"
        encoded = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{reference}.owner").write_text(owner_of(account))
        (self._folder / reference).write_bytes(encoded)
        return reference, self.public_key(reference)

    def public_key(self, reference: str) -> bytes:
        return (
            self._private(reference)
            .public_key()
            .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )

    def owner(self, reference: str) -> str:
        self._private(reference)
        return (self._folder / f"{reference}.owner").read_text()

    def sign(self, reference: str, to_be_signed: bytes, algorithm: SignatureAlgorithm) -> bytes:
        self._misbehave()
        private, digest = self._private(reference), hash_of(algorithm.digest)
        if isinstance(private, ec.EllipticCurvePrivateKey):
            if algorithm.scheme is not SignatureScheme.ECDSA:
                raise KeystoreRefused("an EC key")
            value = private.sign(to_be_signed, ec.ECDSA(digest))
        elif algorithm.scheme is SignatureScheme.RSA_PKCS1:
            value = private.sign(to_be_signed, padding.PKCS1v15(), digest)
        else:
            pss = padding.PSS(padding.MGF1(digest), algorithm.salt_length)
            value = private.sign(to_be_signed, pss, digest)
        return self._given(value)

    def sign_digest(self, reference: str, digest: Digest, algorithm: SignatureAlgorithm) -> bytes:
        self._misbehave()
        private, hashed = self._private(reference), utils.Prehashed(hash_of(digest.algorithm))
        if isinstance(private, ec.EllipticCurvePrivateKey):
            value = private.sign(digest.value, ec.ECDSA(hashed))
        else:
            value = private.sign(digest.value, rsa_padding(algorithm), hashed)
        return self._given(value)

    def _given(self, value: bytes) -> bytes:
        """What comes out instead, now and then."""
        self.signatures += 1
        if self._chance.random() < self.behaviour.faulty:
            return value[:-1] + bytes([value[-1] ^ 1])
        return value

    def destroy(self, reference: str, *, only_new: bool) -> None:
        assert only_new, "a request never destroys a key that is in use"
        (self._folder / reference).unlink(missing_ok=True)

    def health(self) -> None:
        self._misbehave()

    def _misbehave(self) -> None:
        much, chance = self.behaviour, self._chance.random
        time.sleep(much.delay * chance())
        if chance() < much.dying:
            os._exit(9)
        if chance() < much.losing:
            self._lost_until = time.monotonic() + much.lost_for
        if time.monotonic() < self._lost_until or chance() < much.failing:
            raise KeystoreUnavailable("the session is lost")

    def _private(self, reference: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
        try:
            # It was made here; to look at an RSA key once more would take longer than to sign.
            found = load_der_private_key(
                (self._folder / reference).read_bytes(), None, unsafe_skip_rsa_key_validation=True
            )
        except OSError as error:
            raise KeystoreRefused("no such key") from error
        assert isinstance(found, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        return found


def main() -> None:
    folder, secret, behaviour = Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), sys.argv[3]
    keys = UnreliableKeys(folder / "keys", Behaviour(**json.loads(behaviour)))
    place = SignerFolder(folder / "signers")
    place.prepare()
    boot = secrets.token_bytes(32)

    def now() -> datetime:
        return datetime.now(UTC)

    signer = Signer(keys, Register(secret, boot), boot=boot, now=now)
    asyncio.run(SignerServer(signer, place, stuck=keys.behaviour.stuck).run())


if __name__ == "__main__":
    main()
