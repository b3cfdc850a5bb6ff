"""The keys of the service whose files the judges accepted: all in a token, good for signing only.

A thief with the PIN asks `pkcs11-tool`, and the module itself for what the tool has no option for.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hardware import HardwareService
from tokens import MODULE, PIN

pytestmark = [pytest.mark.hsm, pytest.mark.tools, pytest.mark.xdist_group("token")]
PURPOSES = {"seal": ("seal", "tsu"), "ca": ("ca", "ocsp", "audit")}
STRONG = "sensitive, always sensitive, never extractable, local"
THIEF = f"""
import sys
import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.mechanisms import Mechanism
token = pkcs11.lib({str(MODULE)!r}).get_token(token_label=sys.argv[1])
session = token.open(rw=True, user_pin={PIN!r})
thief = session.create_object({{Attribute.CLASS: ObjectClass.SECRET_KEY,
    Attribute.KEY_TYPE: KeyType.AES, Attribute.VALUE: b"k" * 32, Attribute.WRAP: True}})
keys = list(session.get_objects({{Attribute.CLASS: ObjectClass.PRIVATE_KEY}}))
for key in keys:
    for attribute, value in ((Attribute.EXTRACTABLE, True), (Attribute.SENSITIVE, False),
            (Attribute.DECRYPT, True), (Attribute.DERIVE, True), (Attribute.COPYABLE, True)):
        for weaken in (lambda: key.copy({{attribute: value}}), lambda: key.__setitem__(attribute, value)):
            try: weaken()
            except pkcs11.PKCS11Error: continue
            raise AssertionError(f"{{key}} is weaker by {{attribute}}")
    for mechanism in (Mechanism.AES_KEY_WRAP, Mechanism.AES_KEY_WRAP_PAD):
        try: thief.wrap_key(key, mechanism=mechanism)
        except pkcs11.PKCS11Error: continue
        raise AssertionError(f"{{key}} was wrapped")
print(len(keys))
"""


@pytest.fixture
def hardware(services) -> HardwareService:
    found = services("token").hardware
    assert found is not None
    return found


def private_keys(listed: str) -> dict[str, str]:
    """What `--list-objects` says of each private key, by its id."""
    blocks = re.split(r"^(?=\w.*Object)", listed, flags=re.MULTILINE)
    found = {}
    for block in blocks:
        if block.startswith("Private Key Object"):
            (identifier,) = re.findall(r"ID:\s+(\w+)", block)
            found[identifier] = block
    return found


def test_no_key_is_anywhere_else(hardware: HardwareService) -> None:
    data = hardware.folder / "data"
    kept = [path for path in data.rglob("*") if path.is_file()]
    assert kept
    assert not (data / "keys").exists()
    for path in kept:
        assert b"PRIVATE KEY" not in path.read_bytes(), path
    for label, purposes in PURPOSES.items():
        keys = private_keys(hardware.tokens.tool("--list-objects", label=label).stdout)
        for purpose in purposes:
            assert any(f"hashseal:{purpose}:" in block for block in keys.values()), purpose
        if label == "seal":
            made = [block for block in keys.values() if "hashseal:seal:" in block]
            assert len(made) == len(hardware.seals)


@pytest.mark.parametrize("label", PURPOSES)
def test_pkcs11_tool_with_the_pin_gets_signatures_and_nothing_else(
    hardware: HardwareService, label: str, tmp_path: Path
) -> None:
    def tool(*words: str | Path) -> str:
        """What it says; it must fail, and write nothing."""
        done = hardware.tokens.tool(*map(str, words), label=label)
        said = done.stderr.lower()
        assert done.returncode or "error" in said or "not (yet) supported" in said, done.stdout
        assert not out.exists() or not out.stat().st_size, words
        return said

    out, data = tmp_path / "out", tmp_path / "data"
    files = ("--input-file", data, "--output-file", out)
    keys = private_keys(hardware.tokens.tool("--list-objects", label=label).stdout)
    assert len(keys) > len(PURPOSES[label])
    for identifier, block in keys.items():
        key, rsa = ("--id", identifier), "RSA" in block.splitlines()[0]
        assert f"Access:     {STRONG}" in block, block
        assert re.search(r"Usage:\s+sign$", block, re.MULTILINE), block
        for mechanism in ("RSA-PKCS", "RSA-PKCS-PSS") if rsa else ("ECDSA",):
            data.write_bytes(b"d" * 32)
            salted = ("--hash-algorithm", "SHA256") if mechanism == "RSA-PKCS-PSS" else ()
            signing = ("--sign", "--mechanism", mechanism, *salted, *key, *map(str, files))
            done = hardware.tokens.tool(*signing, label=label)
            assert done.returncode == 0, done.stderr
            assert out.stat().st_size == (384 if rsa else 64)
            out.unlink()
        tool("--read-object", "--type", "privkey", *key, "--output-file", out)
        assert "failed" in tool("--set-id", "cc", "--type", "privkey", *key)
        if rsa:
            data.write_bytes(b"c" * 384)
            assert "ckr_" in tool("--decrypt", "--mechanism", "RSA-PKCS", *key, *files)
        else:
            assert tool("--derive", "--mechanism", "ECDH1-DERIVE", *key, *files)


@pytest.mark.parametrize("label", PURPOSES)
def test_no_key_is_wrapped_out_or_copied_to_a_weaker_one(
    hardware: HardwareService, label: str
) -> None:
    before = private_keys(hardware.tokens.tool("--list-objects", label=label).stdout)
    done = hardware.tokens.run(sys.executable, "-c", THIEF, label, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(before)
    assert private_keys(hardware.tokens.tool("--list-objects", label=label).stdout) == before
