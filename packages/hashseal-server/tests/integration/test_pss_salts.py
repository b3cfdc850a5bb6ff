"""RSA-PSS signs with the salt that was asked for; OpenSSL judges its length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tokens import MODULE, PIN, Tokens

from hashseal_core.algorithms import (
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
    longest_salt,
)
from hashseal_core.cms import verify_signature_value
from hashseal_core.errors import FaultySignature, KeystoreRefused
from hashseal_server.keystore import verified
from hashseal_server.keystore.software import SoftwareKeyStore

WORDS = b"what is signed"
CASES = [
    (DigestAlgorithm.SHA256, salt, length)
    for salt, length in ((None, 32), (32, 32), (20, 20), (0, 0), (350, 350))
] + [(DigestAlgorithm.SHA384, 334, 334), (DigestAlgorithm.SHA512, None, 64)]
"""Of a key with 3072 bits: 384 octets, less the digest, less two (RFC 8017, 9.1.1)."""

IN_A_SIGNER = f"""
import sys
from datetime import UTC, datetime
from pathlib import Path
from hashseal_core.algorithms import *
from hashseal_core.errors import KeystoreRefused
from hashseal_server.keystore.folder import SignerFolder
from hashseal_server.keystore.pkcs11 import Pkcs11KeyStore, TokenAccess, objects, wrapping
from hashseal_server.keystore.pkcs11 import keys as in_token
from hashseal_server.keystore.purpose import Purpose
folder = SignerFolder(Path(sys.argv[1])); folder.prepare()
keys = Pkcs11KeyStore(Path({str(MODULE)!r}), [TokenAccess("seal", {PIN!r}, frozenset(Purpose))],
    neighbours=folder, machine="abcd0123", now=lambda: datetime.now(UTC), wrapped=_WRAPPED_)
reference, spki = keys.generate(Purpose.SEAL, KeyAlgorithm.RSA3072, "acme")
print(spki.hex())
def sign(digest, salt):
    return keys.sign(reference, {WORDS!r},
        SignatureAlgorithm(SignatureScheme.RSA_PSS, DigestAlgorithm(digest), salt))
for digest, salt, _ in {[(str(digest), salt, length) for digest, salt, length in CASES]!r}:
    print(sign(digest, salt).hex())
class Watched:
    def __init__(self, private): self.private = private
    def __getitem__(self, attribute): return self.private[attribute]
    @property
    def key_type(self): return self.private.key_type
    def sign(self, *_, **__): raise AssertionError("the key was used")
real = objects.signature
for module in (in_token, wrapping):
    module.signature = lambda private, *more: real(Watched(private), *more)
try: sign("SHA-256", 350)
except AssertionError: pass
else: raise AssertionError("nobody watches")
for digest, salt in (("SHA-256", 351), ("SHA-384", 335), ("SHA-512", 319), ("SHA-256", 4096)):
    try: sign(digest, salt)
    except KeystoreRefused as error: assert "salt is too long" in error.detail, error.detail
    else: raise AssertionError("not refused")
"""


class Judge:
    """`openssl dgst` and `pkeyutl` with a public key."""

    def __init__(self, folder: Path, spki: bytes) -> None:
        self.folder = folder
        (folder / "key.der").write_bytes(spki)
        self.run("pkey", "-pubin", "-inform", "DER", "-in", "key.der", "-out", "key.pem")
        (folder / "words").write_bytes(WORDS)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ("openssl", *words), cwd=self.folder, capture_output=True, text=True, check=False
        )

    def verifies(self, digest: DigestAlgorithm, length: int, value: bytes) -> bool:
        """Both commands say the same."""
        (self.folder / "value").write_bytes(value)
        name = digest.hashlib_name
        padding = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", f"rsa_pss_saltlen:{length}")
        found = self.run(
            *("dgst", f"-{name}", "-verify", "key.pem", *padding),
            *("-signature", "value", "words"),
        )
        options = (word.replace("-sigopt", "-pkeyopt") for word in padding)
        hashed = self.run("dgst", f"-{name}", "-binary", "-out", "hash", "words")
        assert hashed.returncode == 0
        other = self.run(
            *("pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-in", "hash"),
            *("-sigfile", "value", "-pkeyopt", f"digest:{name}", *options),
        )
        assert found.returncode == other.returncode, found.stderr + other.stderr
        return found.returncode == 0 and "Verified OK" in found.stdout


def judged(folder: Path, spki: bytes, values: list[bytes]) -> None:
    """Each value has the salt of its case, for OpenSSL and for our verifier, and no other."""
    judge = Judge(folder, spki)
    for (digest, salt, length), value in zip(CASES, values, strict=True):
        algorithm = SignatureAlgorithm(SignatureScheme.RSA_PSS, digest, salt)
        verify_signature_value(spki, algorithm, WORDS, value)
        assert judge.verifies(digest, length, value)
        largest = longest_salt(3072, digest)
        for other in {0, 20, digest.size, largest, max(length - 1, 1), length + 1} - {length}:
            if other <= largest:
                assert not judge.verifies(digest, other, value), (algorithm, other)
            with pytest.raises(FaultySignature):
                wrong = SignatureAlgorithm(SignatureScheme.RSA_PSS, digest, other)
                verify_signature_value(spki, wrong, WORDS, value)


def pss(salt: int | None) -> SignatureAlgorithm:
    return SignatureAlgorithm(SignatureScheme.RSA_PSS, DigestAlgorithm.SHA256, salt)


def test_keys_in_software_sign_with_the_salt_that_was_asked_for(tmp_path: Path) -> None:
    keys = SoftwareKeyStore(tmp_path / "keys", b"secret")
    key = keys.generate(KeyAlgorithm.RSA3072)
    spki = keys.public_key(key)
    values = []
    for digest, salt, _ in CASES:
        algorithm = SignatureAlgorithm(SignatureScheme.RSA_PSS, digest, salt)
        values.append(verified.sign(keys, key, WORDS, algorithm, spki))
    judged(tmp_path, spki, values)


def test_a_salt_without_room_is_refused_before_the_key_is_used(tmp_path: Path) -> None:
    keys = SoftwareKeyStore(tmp_path / "keys", b"secret")
    key = keys.generate(KeyAlgorithm.RSA3072)
    assert len(keys.sign(key, WORDS, pss(350))) == 384
    for salt in (351, 352, 384, 4096):
        with pytest.raises(KeystoreRefused, match="350 octets at most"):
            keys.sign(key, WORDS, pss(salt))
        with pytest.raises(FaultySignature):
            verify_signature_value(keys.public_key(key), pss(salt), WORDS, bytes(384))
    assert len(keys.sign(key, WORDS, pss(None))) == 384


@pytest.mark.hsm
@pytest.mark.parametrize("wrapped", [False, True])
def test_keys_in_a_token_sign_with_the_salt_that_was_asked_for(
    tmp_path: Path, wrapped: bool
) -> None:
    tokens = Tokens(tmp_path / "hsm")
    if wrapped:
        made = subprocess.run(
            [sys.executable, "-m", "hashseal_server.signers", "--wrapping-key",
             str(tokens.folder / "officer-pin")],
            env=tokens.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
    code = IN_A_SIGNER.replace("_WRAPPED_", str(wrapped))
    done = tokens.run(sys.executable, "-c", code, str(tokens.signers), check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    spki, *values = (bytes.fromhex(line) for line in done.stdout.split())
    judged(tmp_path, spki, values)


@pytest.mark.parametrize(
    ("bits", "digest", "longest"),
    [
        (3072, DigestAlgorithm.SHA256, 350),
        (2048, DigestAlgorithm.SHA512, 190),
        (4096, DigestAlgorithm.SHA256, 478),
        (2049, DigestAlgorithm.SHA256, 222),
    ],
)
def test_the_longest_salt(bits: int, digest: DigestAlgorithm, longest: int) -> None:
    assert longest_salt(bits, digest) == longest
