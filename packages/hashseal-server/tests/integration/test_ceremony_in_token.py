"""A ceremony with the root's key in a token: SoftHSM2 and signers on the offline machine."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ceremonies import Place
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tokens import Tokens, end

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.main import operator
from hashseal_server.pki.model import LegalPerson
from hashseal_server.settings import load

pytestmark = [pytest.mark.hsm, pytest.mark.tools]

SUBJECT = LegalPerson("Test Seal", "Test Organisation", "NTRCH-1", "CH")
PURPOSES = {"ca": "root", "audit": "root"}
STRONG = "sensitive, always sensitive, never extractable, local"


def token(folder: Path) -> Tokens:
    """A machine with one token, for the root and its records alone."""
    return Tokens(folder, labels=("root",), purposes=PURPOSES)


@pytest.fixture
def safe(tmp_path: Path) -> Iterator[Tokens]:
    made = token(tmp_path / "safe")
    yield made
    end(made.begun)


def settings_of(tokens: Tokens) -> dict[str, str]:
    """What the command is told on the offline machine; it has neither module nor PIN."""
    return {"KEYSTORE": "pkcs11", "SIGNER_FOLDER": str(tokens.signers)}


def openssl(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["openssl", *words], check=False, cwd=folder, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def test_the_root_lives_in_a_token(
    safe: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, offline = Place(tmp_path, monkeypatch), settings_of(safe)
    path, said = place.request()

    # Nobody holds the token: nothing is made, and nothing is given out.
    none = place.ceremony(
        "--request", path, "--fingerprint", said, fails="keystore-unavailable", **offline
    )
    assert {one.name for one in none.glob("*")} <= {"ceremony.json", "ceremony.txt"}

    signers = safe.start(1)
    out = place.ceremony("--request", path, "--fingerprint", said, **offline)
    assert not list((tmp_path / "offline").glob("*keys*"))
    listed = safe.tool("--list-objects", "--type", "privkey", label="root").stdout
    assert listed.count("label:") == listed.count(f"Access:     {STRONG}") == 3
    labels = {line.split(":")[2] for line in listed.splitlines() if "label:" in line}
    assert labels == {"ca", "audit", "health"}  # the root's, that of its records, and a probe
    place.install(out)

    # The next one, on the same token: a list with the revocation of what the first has certified.
    issuing = x509.load_der_x509_certificate((out / "issuing.cer").read_bytes())
    path, said = place.request()
    again = place.ceremony("--request", path, "--fingerprint", said, **offline)
    assert (again / "root.cer").read_bytes() == (out / "root.cer").read_bytes()
    place.install(again, "issuing-2")
    serial = format(issuing.serial_number, "x")
    last = place.ceremony("--revoke", serial, "--reason", "superseded", **offline)
    end(signers)  # the token goes back into the safe; what follows does without
    place.run("pki", "install-list", str(last / "root.crl"))

    async def issue() -> tuple[bytes, ...]:
        async with operator(load()) as opened:
            assert await opened.check() == []
            made = await opened.authority.issue_signing(SUBJECT, algorithm=KeyAlgorithm.P256)
            return made.chain

    for name, der in zip(("leaf", "issuing", "root"), asyncio.run(issue()), strict=True):
        read = x509.load_der_x509_certificate(der)
        (last / f"{name}.pem").write_bytes(read.public_bytes(Encoding.PEM))
    assert openssl(
        last, "verify", "-x509_strict", "-CAfile", "root.pem", "-untrusted", "issuing.pem", "leaf.pem"
    ).strip() == "leaf.pem: OK"  # fmt: skip
    said = openssl(
        last, "crl", "-inform", "DER", "-in", "root.crl", "-noout", "-text", "-CAfile", "root.pem"
    )
    assert "verify OK" in said
    assert f"Serial Number: {serial.upper()}" in said.replace("Serial Number: 0", "Serial Number: ")


def test_another_token_is_not_taken_for_the_roots(
    safe: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, monkeypatch)
    signers = safe.start(1)
    place.ceremony(**settings_of(safe))
    end(signers)
    other = token(tmp_path / "other")
    signers = other.start(1)
    try:
        place.ceremony(fails="keystore-refused", **settings_of(other))
    finally:
        end(signers)
