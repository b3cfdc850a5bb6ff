"""Keys in a real token (SoftHSM2): they sign, and `pkcs11-tool` with the PIN gets nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tokens import MODULE, OFFICER_PIN, PIN, Tokens

from hashseal_core.algorithms import (
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_core.cms import verify_signature_value

pytestmark = pytest.mark.hsm

COMMON = f"""
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from hashseal_core.algorithms import *
from hashseal_core.cms import verify_signature_value
from hashseal_core.errors import *
from hashseal_server.keystore.folder import SignerFolder
from hashseal_server.keystore.pkcs11 import Pkcs11KeyStore, TokenAccess
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.reference import owner_of
folder = SignerFolder(Path(sys.argv[1])); folder.prepare()
away = timedelta()
def store(wrapped=False, pin={PIN!r}, label="seal", machine="abcd0123"):
    return Pkcs11KeyStore(Path({str(MODULE)!r}), [TokenAccess(label, pin, frozenset(Purpose))],
        neighbours=folder, machine=machine, now=lambda: datetime.now(UTC) + away, wrapped=wrapped)
def refused(work, because):
    try: work()
    except KeystoreRefused as error: assert because in error.detail, error.detail
    else: raise AssertionError("not refused")
ECDSA = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
"""


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "hsm")


Inside = Callable[..., str]


@pytest.fixture
def inside(tokens: Tokens) -> Inside:
    """Run code in a process of its own, as a signer is one: the module lives in no test process."""

    def run(code: str, *words: str) -> str:
        done = tokens.run(
            sys.executable, "-W", "error", "-c", COMMON + code, str(tokens.signers), *words,
            check=False, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.mark.parametrize("wrapped", [False, True])
def test_every_algorithm_signs_as_x509_and_cms_want_it(
    tokens: Tokens, inside: Inside, wrapped: bool
) -> None:
    if wrapped:
        make_wrapping_key(tokens)
    made = inside(
        f"""
keys = store(wrapped={wrapped})
for algorithm in KeyAlgorithm:
    reference, spki = keys.generate(Purpose.SEAL, algorithm, "acme")
    assert keys.public_key(reference) == spki
    assert keys.owner(reference) == owner_of("acme")
    print(reference)
keys.close()
"""
    ).split()
    assert len(made) == len(KeyAlgorithm)
    lines = inside(
        f"""
keys = store(wrapped={wrapped})
for reference in sys.argv[2:]:
    spki = keys.public_key(reference)
    for scheme in SignatureScheme:
        for digest in DigestAlgorithm:
            algorithm = SignatureAlgorithm(scheme, digest)
            try: value = keys.sign(reference, b"words", algorithm)
            except KeystoreRefused: continue
            print(spki.hex(), scheme.name, digest.name, value.hex())
""",
        *made,
    ).splitlines()
    assert len(lines) == 3 * 3 + 3 * 6  # EC: one scheme; RSA: two; each with three digests
    for line in lines:
        spki, scheme, digest, value = line.split()
        algorithm = SignatureAlgorithm(SignatureScheme[scheme], DigestAlgorithm[digest])
        verify_signature_value(bytes.fromhex(spki), algorithm, b"words", bytes.fromhex(value))


def identifier(reference: str) -> str:
    return reference.split(".")[1]


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.RSA2048])
def test_a_tool_with_the_pin_can_only_sign(
    tokens: Tokens, inside: Inside, tmp_path: Path, algorithm: KeyAlgorithm
) -> None:
    reference = inside(
        f"print(store().generate(Purpose.SEAL, KeyAlgorithm({algorithm.value!r}), 'a')[0])"
    )
    key = ("--id", identifier(reference))
    listed = tokens.tool("--list-objects", "--type", "privkey", *key).stdout
    assert "sensitive, always sensitive, never extractable, local" in listed
    usage = next(line for line in listed.splitlines() if "Usage:" in line)
    assert usage.split(":")[1].strip() == "sign"
    data, out = tmp_path / "data", tmp_path / "out"
    data.write_bytes(b"d" * 32)
    files = ("--input-file", str(data), "--output-file", str(out))
    mechanism = "RSA-PKCS" if algorithm.is_rsa else "ECDSA"
    assert tokens.tool("--sign", "--mechanism", mechanism, *key, *files).returncode == 0
    assert out.stat().st_size == (256 if algorithm.is_rsa else 64)
    out.unlink()

    def fails(*words: str) -> str:
        done = tokens.tool(*words)
        said = done.stderr.lower()
        assert done.returncode or "error" in said or "not (yet) supported" in said, done.stdout
        assert not out.exists() or not out.stat().st_size, words
        return done.stderr

    fails("--read-object", "--type", "privkey", *key, "--output-file", str(out))
    # A key to wrap under, whose value the thief knows.
    known = tmp_path / "known"
    known.write_bytes(b"k" * 32)
    assert tokens.tool(
        "--write-object", str(known), "--type", "secrkey", "--key-type", "AES:32", "--id", "aa",
        "--usage-wrap",
    ).returncode == 0, "the thief's own key"  # fmt: skip
    wrap = ("--wrap", "--mechanism", "0x210A", "--id", "aa", "--application-id")
    fails(*wrap, identifier(reference), "--output-file", str(out))
    if algorithm.is_rsa:
        data.write_bytes(b"c" * 256)
        assert "CKR_" in fails("--decrypt", "--mechanism", "RSA-PKCS", *key, *files)
        assert "CKR_" in fails(
            "--unwrap", "--mechanism", "RSA-PKCS", *key, "--input-file", str(data),
            "--key-type", "AES:", "--application-id", "bb",
        )  # fmt: skip
    else:
        assert fails("--derive", "--mechanism", "ECDH1-DERIVE", *key, *files)
    assert "C_SetAttributeValue failed" in fails("--set-id", "cc", "--type", "privkey", *key)
    assert "CKR_" in fails("--sign", "--mechanism", "AES-CMAC", *key, *files)


def test_a_key_is_neither_copied_nor_made_weaker(tokens: Tokens, inside: Inside) -> None:
    """What `pkcs11-tool` has no option for is asked of the module itself."""
    reference = inside("print(store().generate(Purpose.SEAL, KeyAlgorithm.P256, 'a')[0])")
    inside(
        f"""
import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.mechanisms import Mechanism
token = pkcs11.lib({str(MODULE)!r}).get_token(token_label="seal")
session = token.open(rw=True, user_pin={PIN!r})
key = session.get_key(ObjectClass.PRIVATE_KEY, id=bytes.fromhex(sys.argv[2]))
def fails(work):
    try: work()
    except pkcs11.PKCS11Error: return
    raise AssertionError("done")
def put(attribute, value): key[attribute] = value
for attribute, value in ((Attribute.EXTRACTABLE, True), (Attribute.SENSITIVE, False),
        (Attribute.DECRYPT, True), (Attribute.UNWRAP, True), (Attribute.DERIVE, True),
        (Attribute.SIGN_RECOVER, True), (Attribute.MODIFIABLE, True), (Attribute.COPYABLE, True),
        (Attribute.LABEL, "x")):
    fails(lambda: put(attribute, value))
    fails(lambda: key.copy({{attribute: value}}))
fails(lambda: key.copy({{}}))
for attribute in (Attribute.VALUE, Attribute.PRIVATE_EXPONENT):
    fails(lambda: key[attribute])
known = {{Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES,
    Attribute.VALUE: b"k" * 32, Attribute.WRAP: True, Attribute.ENCRYPT: True}}
thief = session.create_object(known)
for mechanism in (Mechanism.AES_KEY_WRAP, Mechanism.AES_KEY_WRAP_PAD):
    try: thief.wrap_key(key, mechanism=mechanism)
    except (pkcs11.KeyUnextractable, pkcs11.KeyNotWrappable): pass
    else: raise AssertionError("wrapped out")
""",
        identifier(reference),
    )


def test_a_weaker_key_with_our_label_does_not_sign(tokens: Tokens, inside: Inside) -> None:
    """Made by somebody with the PIN: extractable, but labelled like ours."""
    found = inside(
        f"""
import pkcs11
from pkcs11 import Attribute, KeyType, MechanismFlag
keys = store(); keys.generate(Purpose.SEAL, KeyAlgorithm.P256, "a"); keys.close()
session = pkcs11.lib({str(MODULE)!r}).get_token(token_label="seal").open(rw=True, user_pin={PIN!r})
session.generate_keypair(KeyType.RSA, 2048, id=b"w" * 16, store=True,
    capabilities=MechanismFlag.SIGN,
    private_template={{Attribute.EXTRACTABLE: True, Attribute.LABEL: "hashseal:seal:-:abcd0123:1"}},
    public_template={{Attribute.LABEL: "hashseal:active"}})
session.close()
keys = store(); keys.health()
reference = "seal." + (b"w" * 16).hex()
refused(lambda: keys.sign(reference, b"x", ECDSA), "EXTRACTABLE")
print(*keys.findings)
"""
    )
    assert found.startswith("seal." + "77" * 16)
    assert "EXTRACTABLE" in found


def test_purpose_age_and_absence_are_looked_at(inside: Inside) -> None:
    inside(
        """
keys = store()
reference, spki = keys.generate(Purpose.TSU, KeyAlgorithm.P256, "")
other = "seal." + reference.split(".")[1]
refused(lambda: keys.sign(other, b"x", ECDSA), "no such key")
refused(lambda: keys.sign("seal." + "0" * 32, b"x", ECDSA), "no such key")
refused(lambda: keys.sign(reference, b"x",
    SignatureAlgorithm(SignatureScheme.RSA_PSS, DigestAlgorithm.SHA256)), "of the kind")
away = timedelta(minutes=11)
refused(lambda: keys.destroy(reference, only_new=True), "in use")
keys.sign(reference, b"x", ECDSA)
away = timedelta()
keys.destroy(reference, only_new=True)
refused(lambda: keys.sign(reference, b"x", ECDSA), "no such key")
keys.destroy(reference, only_new=True)
old, _ = keys.generate(Purpose.CA, KeyAlgorithm.P384, "")
away = timedelta(days=900)
keys.destroy(old, only_new=False)
refused(lambda: keys.public_key(old), "no such key")
"""
    )


def make_wrapping_key(tokens: Tokens) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hashseal_server.signers", "--wrapping-key",
         str(tokens.folder / "officer-pin")],
        env=tokens.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_wrapped_keys_leave_nothing_in_the_token(tokens: Tokens, inside: Inside) -> None:
    inside("keys = store(wrapped=True); refused(lambda: keys.generate(Purpose.SEAL, "
           "KeyAlgorithm.P256, 'a'), 'no wrapping key')")  # fmt: skip
    make_wrapping_key(tokens)
    before = tokens.tool("--list-objects").stdout
    references = inside(
        "keys = store(wrapped=True)\n"
        "for n in range(5): print(keys.generate(Purpose.SEAL, KeyAlgorithm.P256, f'a{n}')[0])"
    ).split()
    after = tokens.tool("--list-objects").stdout
    assert after.count("Private Key Object") == before.count("Private Key Object") == 1  # health
    inside(
        """
from hashseal_server.keystore.pkcs11.wrapping import WrappedKeys
keys = store(wrapped=True)
keys.wrapped_keys._limit = 2
for _ in range(3):
    for reference in sys.argv[2:]:
        value = keys.sign(reference, b"x", ECDSA)
        verify_signature_value(keys.public_key(reference), ECDSA, b"x", value)
        assert keys.wrapped_keys.held <= 2
""",
        *references,
    )


def test_a_wrapped_key_is_bound_to_its_owner_and_its_token(tokens: Tokens, inside: Inside) -> None:
    make_wrapping_key(tokens)
    reference = inside(
        "print(store(wrapped=True).generate(Purpose.SEAL, KeyAlgorithm.P256, 'a')[0])"
    )
    inside(
        """
import msgspec
from hashseal_server.keystore.reference import read_reference
keys = store(wrapped=True)
bound = read_reference(sys.argv[2])
for changes in ({"owner": owner_of("evil")}, {"spki": b"x"}, {"blob": bound.key.blob[::-1]},
        {"algorithm": KeyAlgorithm.RSA2048}):
    other = msgspec.structs.replace(bound.key, **changes).text(bound.mac)
    refused(lambda: keys.sign(other, b"x", ECDSA), "no such key")
    refused(lambda: keys.owner(other), "no such key")
refused(lambda: keys.public_key(bound.key.text(bytes(32))), "no such key")
keys.sign(sys.argv[2], b"x", ECDSA)
""",
        reference,
    )
    another = Tokens(tokens.folder.parent / "another")
    make_wrapping_key(another)
    done = another.run(
        sys.executable, "-c",
        COMMON + "refused(lambda: store(wrapped=True).sign(sys.argv[2], b'x', ECDSA), 'no such key')",
        str(another.signers), reference,
    )  # fmt: skip
    assert done.returncode == 0


def test_the_wrapping_key_gives_nothing_away(
    tokens: Tokens, inside: Inside, tmp_path: Path
) -> None:
    make_wrapping_key(tokens)
    reference = inside(
        "print(store(wrapped=True).generate(Purpose.SEAL, KeyAlgorithm.RSA2048, 'a')[0])"
    )
    inside(
        f"""
import pkcs11
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass
from pkcs11.constants import DEFAULT
from pkcs11.mechanisms import Mechanism
from hashseal_server.keystore.reference import read_reference
blob = read_reference(sys.argv[2]).key.blob
token = pkcs11.lib({str(MODULE)!r}).get_token(token_label="seal")
session = token.open(rw=True, user_pin={PIN!r})
key = session.get_key(label="hashseal:wrapping")
def fails(work):
    try: work()
    except (pkcs11.PKCS11Error, AttributeError): return
    raise AssertionError("done")
none = dict.fromkeys((Attribute.ENCRYPT, Attribute.WRAP, Attribute.VERIFY), DEFAULT)
strict = {{Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True, Attribute.DECRYPT: False, Attribute.UNWRAP: False, Attribute.DERIVE: False}}
for weaker in ({{Attribute.EXTRACTABLE: True}}, {{Attribute.SENSITIVE: False}},
        {{Attribute.DECRYPT: True}}, {{Attribute.PRIVATE: False}}):
    fails(lambda: key.unwrap_key(ObjectClass.PRIVATE_KEY, KeyType.RSA, blob,
        mechanism=Mechanism.AES_KEY_WRAP_PAD, capabilities=MechanismFlag.SIGN,
        template={{**none, **strict, **weaker}}))
for attribute in (Attribute.VALUE,):
    fails(lambda: key[attribute])
for mechanism in (Mechanism.AES_ECB, Mechanism.AES_CBC):
    fails(lambda: key.decrypt(blob[:64], mechanism=mechanism, mechanism_param=bytes(16)))
    fails(lambda: key.encrypt(blob[:64], mechanism=mechanism, mechanism_param=bytes(16)))
fails(lambda: key.copy({{Attribute.DECRYPT: True}}))
# A key that a trusted key only may wrap is not wrapped by another.
thief = session.generate_key(KeyType.AES, 256, capabilities=MechanismFlag.WRAP)
pair = session.generate_keypair(KeyType.RSA, 2048, capabilities=MechanismFlag.SIGN,
    private_template={{Attribute.EXTRACTABLE: True, Attribute.WRAP_WITH_TRUSTED: True}})
fails(lambda: thief.wrap_key(pair[1], mechanism=Mechanism.AES_KEY_WRAP_PAD))
key.wrap_key(pair[1], mechanism=Mechanism.AES_KEY_WRAP_PAD)
""",
        reference,
    )
    again = subprocess.run(
        [sys.executable, "-m", "hashseal_server.signers", "--wrapping-key",
         str(tokens.folder / "officer-pin")],
        env=tokens.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 1
    assert "has a wrapping key" in again.stderr


def test_a_wrapping_key_that_is_too_weak_is_not_used(tokens: Tokens, inside: Inside) -> None:
    """Trusted, but without a template: what it unwraps could be extracted."""
    inside(
        f"""
import pkcs11
from pkcs11 import Attribute, KeyType, MechanismFlag
token = pkcs11.lib({str(MODULE)!r}).get_token(token_label="seal")
with token.open(rw=True, so_pin={OFFICER_PIN!r}) as session:
    session.generate_key(KeyType.AES, 256, label="hashseal:wrapping", store=True,
        capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
        template={{Attribute.PRIVATE: False, Attribute.SENSITIVE: True, Attribute.TRUSTED: True,
            Attribute.EXTRACTABLE: False, Attribute.MODIFIABLE: False, Attribute.COPYABLE: False}})
keys = store(wrapped=True)
refused(lambda: keys.generate(Purpose.SEAL, KeyAlgorithm.P256, "a"), "weaker form")
"""
    )


def test_one_thread_of_one_process(inside: Inside) -> None:
    inside(
        """
import os, threading
keys = store(); keys.health()
seen = []
def work():
    try: keys.health()
    except RuntimeError as error: seen.append(str(error))
thread = threading.Thread(target=work); thread.start(); thread.join()
assert "one thread" in seen[0]
child = os.fork()
if not child:
    try: keys.health()
    except RuntimeError: os._exit(0)
    os._exit(1)
assert os.waitpid(child, 0)[1] == 0
"""
    )
