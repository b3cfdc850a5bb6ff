"""Software key store: PKCS#8 files, encrypted under a secret. For the sandbox and for tests only.

Each key is one file `<reference>.p8`, mode 0600, in one folder. Keys are decrypted once.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from hashseal_core.algorithms import (
    Digest,
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_core.cms.checking import hash_of, rsa_padding
from hashseal_core.errors import KeystoreRefused, KeystoreUnavailable
from hashseal_server.keystore import verified
from hashseal_server.keystore.encoding import request_info, require_salt
from hashseal_server.keystore.purpose import Purpose

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_CURVES: dict[KeyAlgorithm, ec.EllipticCurve] = {
    KeyAlgorithm.P256: ec.SECP256R1(),
    KeyAlgorithm.P384: ec.SECP384R1(),
    KeyAlgorithm.P521: ec.SECP521R1(),
}
_HEALTH_KEY = "health"
_RAW = "raw-"


class SoftwareKeyStore:
    """Keys in files under `folder`, encrypted with a key derived from `secret` (PBES2, scrypt)."""

    def __init__(self, folder: Path, secret: bytes) -> None:
        self._folder = folder
        self._encryption = serialization.BestAvailableEncryption(secret)
        self._secret = secret
        self._loaded: dict[str, tuple[PrivateKey, bytes]] = {}
        self._signing: dict[tuple[str, SignatureAlgorithm], Callable[[bytes], bytes]] = {}

    def generate(
        self, algorithm: KeyAlgorithm, purpose: Purpose = Purpose.SEAL, account: str = ""
    ) -> str:
        """Make a key and write it before its reference is given out.

        It may sign any bytes, but digests only if its purpose is that, and then nothing else.
        """
        del account
        mark = _RAW if purpose is Purpose.RAW else ""
        return self._write(mark + secrets.token_hex(16), algorithm)

    def adopt(self, private: PrivateKey) -> str:
        """Keep a key that was made elsewhere, under a new reference.

        Raises:
            KeystoreUnavailable: it cannot be written.
        """
        return self._keep(secrets.token_hex(16), private)

    def public_key(self, key: str) -> bytes:
        """SubjectPublicKeyInfo, DER."""
        return self._key(key)[1]

    def sign(self, key: str, to_be_signed: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """The signature value, not verified.

        Raises:
            KeystoreUnavailable: no such key, or a key of another kind.
            KeystoreRefused: the key has no room for the salt, or signs digests only.
        """
        if key.startswith(_RAW):
            raise KeystoreRefused("the key signs digests only")
        sign = self._signing.get((key, algorithm))
        if sign is None:
            sign = self._signing[key, algorithm] = _signing(self._key(key)[0], algorithm)
        return sign(to_be_signed)

    def sign_digest(self, key: str, digest: Digest, algorithm: SignatureAlgorithm) -> bytes:
        """The signature value over a digest, not verified.

        Raises:
            KeystoreUnavailable: no such key, or a key of another kind.
            KeystoreRefused: the key is not made for that, or has no room for the salt.
        """
        if not key.startswith(_RAW):
            raise KeystoreRefused("the key is for another purpose")
        private = self._key(key)[0]
        hashed = utils.Prehashed(hash_of(digest.algorithm))
        if isinstance(private, ec.EllipticCurvePrivateKey):
            if algorithm.scheme is SignatureScheme.ECDSA:
                return private.sign(digest.value, ec.ECDSA(hashed))
        elif algorithm.scheme is not SignatureScheme.ECDSA:
            if algorithm.scheme is SignatureScheme.RSA_PSS:
                require_salt(algorithm, private.key_size)
            return private.sign(digest.value, rsa_padding(algorithm), hashed)
        raise KeystoreUnavailable("the key is not of the kind that the algorithm needs")

    def sign_request(self, key: str, subject: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """The signature value over a CertificationRequestInfo for the key, not verified.

        Raises:
            KeystoreUnavailable: no such key, or a key of another kind.
            DerInvalid: `subject` is not DER.
        """
        return self.sign(key, request_info(subject, self.public_key(key)), algorithm)

    def destroy(self, key: str) -> None:
        """Forget the key."""
        self._loaded.pop(key, None)
        for known in [one for one in self._signing if one[0] == key]:
            del self._signing[known]
        (self._folder / f"{key}.p8").unlink(missing_ok=True)

    def health(self) -> None:
        """Sign and verify with a key of its own."""
        if not (self._folder / f"{_HEALTH_KEY}.p8").exists():
            self._write(_HEALTH_KEY, KeyAlgorithm.P256)
        algorithm = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
        verified.sign(
            self, _HEALTH_KEY, secrets.token_bytes(32), algorithm, self.public_key(_HEALTH_KEY)
        )

    def _write(self, name: str, algorithm: KeyAlgorithm) -> str:
        private: PrivateKey
        if algorithm.is_rsa:
            private = rsa.generate_private_key(65537, int(algorithm.value.split("-")[1]))
        else:
            private = ec.generate_private_key(_CURVES[algorithm])
        return self._keep(name, private)

    def _keep(self, name: str, private: PrivateKey) -> str:
        encoded = private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, self._encryption
        )
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = self._folder / f".{name}.{secrets.token_hex(4)}"
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(encoded)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._folder / f"{name}.p8")
        except OSError as error:
            raise KeystoreUnavailable("the key cannot be written") from error
        return name

    def _key(self, key: str) -> tuple[PrivateKey, bytes]:
        if (found := self._loaded.get(key)) is not None:
            return found
        try:
            encoded = (self._folder / f"{key}.p8").read_bytes()
            private = serialization.load_der_private_key(encoded, self._secret)
        except (OSError, ValueError) as error:
            raise KeystoreUnavailable("the key cannot be loaded") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise KeystoreUnavailable("the key is of a kind that does not sign")
        public = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._loaded[key] = private, public
        return private, public


def _signing(private: PrivateKey, algorithm: SignatureAlgorithm) -> Callable[[bytes], bytes]:
    """What signs octets with a key in this way.

    Raises:
        KeystoreUnavailable: the key is of another kind.
        KeystoreRefused: the key has no room for the salt.
    """
    digest = hash_of(algorithm.digest)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        if algorithm.scheme is SignatureScheme.ECDSA:
            ecdsa = ec.ECDSA(digest)
            return lambda octets: private.sign(octets, ecdsa)
    elif algorithm.scheme is SignatureScheme.RSA_PKCS1:
        pkcs1 = padding.PKCS1v15()
        return lambda octets: private.sign(octets, pkcs1, digest)
    elif algorithm.scheme is SignatureScheme.RSA_PSS:
        require_salt(algorithm, private.key_size)
        pss = padding.PSS(mgf=padding.MGF1(digest), salt_length=algorithm.salt_length)
        return lambda octets: private.sign(octets, pss, digest)
    raise KeystoreUnavailable("the key is not of the kind that the algorithm needs")
