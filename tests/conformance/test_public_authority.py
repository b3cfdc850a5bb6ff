"""Files signed with the certificate of an independent authority, judged when it is out of reach.

The authority is made with openssl. Its OCSP responses or lists stand in the file, so that every judge
finds the signature good without a network, against the authority's root.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import generated_pdfs
import judgement
import pytest
from forms import ALL_FORMS, IN_TOKEN, KEYS_IN_TOKEN
from public_authority import PublicAuthority

pytestmark = pytest.mark.tools

NETWORKS = {"HASHSEAL_OUTBOUND_NETWORKS": '["127.0.0.1/32"]'}
KINDS = {
    "P-256": ("P-256",),
    "RSA-2048": ("RSA-2048",),
    "RSA-3072": ("RSA-3072",),
    "RSA-3072-PSS": ("RSA-3072", "--pss"),
}
"""What follows `--algorithm`."""


def of_sandbox(software) -> dict[str, str]:
    """Variables of the operator's commands for the sandbox's data."""
    return {"HASHSEAL_DATA_DIR": software.variables["HASHSEAL_SANDBOX_DIR"]}


def operate(variables: Mapping[str, str], *arguments: str | Path) -> dict[str, Any]:
    """`hashseal-server …` on a service's data."""
    done = subprocess.run(
        [sys.executable, "-m", "hashseal_server.cli", *map(str, arguments), "--json"],
        env={**os.environ, **NETWORKS, **variables},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[0])


def imported(
    variables: Mapping[str, str],
    authority: PublicAuthority,
    algorithm: str,
    made_in: Path,
    above: Sequence[Path] = (),
) -> dict[str, Any]:
    """A seal with a certificate of the authority: request, signature there, import.

    `above` is what is brought beside the certificate, if it is not the authority's own chain.
    """
    account = operate(variables, "account", "list")["id"]
    names = ("--name", "Acme Seal", "--organisation", "Acme", "--algorithm")
    made = operate(
        variables,
        *("credential", "csr", "--account", account, *names, *KINDS[algorithm]),
        *("--out", made_in / "acme.csr"),
    )
    certificate = authority.sign(made_in / "acme.csr")
    brought = certificate, *(above or authority.chain)
    chain = [part for path in brought for part in ("--certificate", path)]
    seal = operate(
        variables, *("credential", "import", made["request"], *chain, "--confirm-addresses")
    )
    assert seal["status_data"] == "good"
    return seal


@pytest.mark.parametrize(
    ("algorithm", "source"), [("P-256", "ocsp"), ("RSA-2048", "crl"), ("RSA-3072-PSS", "ocsp")]
)
def test_offline_against_the_public_root(
    software, monkeypatch, tmp_path: Path, algorithm: str, source: str
) -> None:
    for name, value in NETWORKS.items():
        monkeypatch.setenv(name, value)
    authority = PublicAuthority(tmp_path / "authority", ocsp_away=source == "crl")
    try:
        seal = imported(of_sandbox(software), authority, algorithm, tmp_path)
        plain, signed = tmp_path / "plain.pdf", tmp_path / "signed.pdf"
        plain.write_bytes(generated_pdfs.generate("table", tmp_path))
        for level in ("B-LT", "B-LTA"):
            target = signed.with_suffix(f".{level}.pdf")
            outcome = software.run(
                *("sign", plain, "-o", target, "--level", level),
                *("--seal", seal["id"], "--sandbox", "--json"),
            )
            assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    finally:
        authority.close()
    roots = tmp_path / "roots.pem"  # the timestamp is of the sandbox's own authority
    roots.write_bytes(authority.root_pem.read_bytes() + software.anchor_pem.read_bytes())
    for level, count in (("B-LT", 1), ("B-LTA", 2)):
        path = signed.with_suffix(f".{level}.pdf")
        document = path.read_bytes()
        found = judgement.signatures(document)
        assert len(found) == count
        assert judgement.openssl_cms(found[0], authority.root_pem, tmp_path)
        assert not judgement.openssl_cms(found[0], software.anchor_pem, tmp_path)
        assert judgement.pdfsig(path) == [True]
        material = judgement.dss(document)
        verdicts = judgement.pyhanko(document, roots.read_bytes(), material)
        assert verdicts == [True] * count
        assert judgement.pyhanko(document, software.anchor_pem.read_bytes(), material)[0] is False
        said = [
            judgement.openssl_ocsp(o, material.certificates, tmp_path)
            for o in material.ocsp_responses
        ]
        assert {*said} == {"good"}
        lists = [one for one in material.crls if b"Public CA" in one]
        assert bool(lists) is (source == "crl")


def test_each_seal_is_proved_by_the_root_of_its_chain(
    software, monkeypatch, tmp_path: Path
) -> None:
    """Another root vouches for the authority's: one key, two certificates, and two paths from it.

    Who trusts the authority's own root needs no more than the shorter path, which both files have.
    Lists say what is revoked: OpenSSL's responder puts the authority's own root beside a response, and
    pyHanko wants revocation data of that when another root is to be trusted.
    """
    for name, value in NETWORKS.items():
        monkeypatch.setenv(name, value)
    authority = PublicAuthority(tmp_path / "authority", ocsp_away=True)
    other = PublicAuthority(tmp_path / "other", title="Other")
    plain = tmp_path / "plain.pdf"
    plain.write_bytes(generated_pdfs.generate("table", tmp_path))
    roots = {"own": authority.root_pem, "cross": other.root_pem}
    try:
        chains = {
            "own": authority.chain,
            "cross": (authority.issuing_pem, other.vouch_for(authority), other.root_pem),
        }
        for path, chain in chains.items():
            folder = tmp_path / path
            folder.mkdir()
            seal = imported(of_sandbox(software), authority, "P-256", folder, chain)
            outcome = software.run(
                *("sign", plain, "-o", tmp_path / f"{path}.pdf", "--level", "B-LT"),
                *("--seal", seal["id"], "--sandbox", "--json"),
            )
            assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    finally:
        authority.close()
        other.close()
    for path in roots:
        document = (tmp_path / f"{path}.pdf").read_bytes()
        material = judgement.dss(document)
        assert judgement.pdfsig(tmp_path / f"{path}.pdf") == [True]
        for name, root in roots.items():
            (found,) = judgement.signatures(document)
            bundle = software.anchor_pem.read_bytes() + root.read_bytes()
            verdict = name == "own" or path == "cross"
            assert judgement.openssl_cms(found, root, tmp_path) is verdict
            assert judgement.pyhanko(document, bundle, material) == [verdict]


@pytest.mark.parametrize("level", ["B-LT", "B-LTA"])
def test_certificate_and_timestamps_of_the_public_authority(
    software, monkeypatch, tmp_path: Path, level: str
) -> None:
    """Nothing of our own authority is in the file: the public root is all that a validator needs."""
    for name, value in NETWORKS.items():
        monkeypatch.setenv(name, value)
    authority = PublicAuthority(tmp_path / "authority")
    plain, target = tmp_path / "plain.pdf", tmp_path / "signed.pdf"
    plain.write_bytes(generated_pdfs.generate("table", tmp_path))
    try:
        seal = imported(of_sandbox(software), authority, "P-256", tmp_path)
        monkeypatch.setenv("HASHSEAL_TIMESTAMP_URLS", json.dumps([f"{authority.base}/tsa/issuing"]))
        monkeypatch.setenv("HASHSEAL_TIMESTAMP_TRUST_ANCHORS", str(authority.root_pem))
        outcome = software.run(
            *("sign", plain, "-o", target, "--level", level),
            *("--seal", seal["id"], "--sandbox", "--json"),
        )
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    finally:
        authority.close()
    document, root = target.read_bytes(), authority.root_pem.read_bytes()
    found = judgement.signatures(document)
    assert judgement.openssl_cms(found[0], authority.root_pem, tmp_path)
    assert judgement.pdfsig(target) == [True]
    material = judgement.dss(document)
    verdicts = judgement.pyhanko(document, root, material)
    assert verdicts == [True] * (2 if level == "B-LTA" else 1)
    assert not any(judgement.pyhanko(document, software.anchor_pem.read_bytes(), material))
    assert {
        judgement.openssl_ocsp(one, material.certificates, tmp_path)
        for one in material.ocsp_responses
    } == {"good"}


@pytest.mark.parametrize(
    "algorithm",
    [pytest.param(one, marks=IN_TOKEN) for one in (KEYS_IN_TOKEN if ALL_FORMS else ("P-256",))],
)
def test_a_key_in_a_token_with_a_certificate_of_the_public_authority(
    services, tmp_path: Path, algorithm: str
) -> None:
    """The key never leaves the token: its request goes out, `openssl ca` signs, the seal signs B-LT."""
    service = services("token")
    hardware = service.hardware
    assert hardware is not None
    listed = ("--list-objects", "--type", "privkey")
    before = hardware.tokens.tool(*listed).stdout
    authority = PublicAuthority(tmp_path / "authority")
    plain, signed = tmp_path / "plain.pdf", tmp_path / "signed.pdf"
    plain.write_bytes(generated_pdfs.generate("table", tmp_path))
    try:
        seal = imported(hardware.variables(), authority, algorithm, tmp_path)
        hardware.seals[f"imported {algorithm}"] = seal["id"]
        outcome = service.run(
            *("sign", plain, "-o", signed, "--level", "B-LT", "--seal", seal["id"], "--json")
        )
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    finally:
        authority.close()
    after = hardware.tokens.tool(*listed).stdout
    assert after.count("Private Key Object") == before.count("Private Key Object") + 1
    document = signed.read_bytes()
    (found,) = judgement.signatures(document)
    assert judgement.openssl_cms(found, authority.root_pem, tmp_path)
    assert not judgement.openssl_cms(found, service.anchor_pem, tmp_path)
    assert judgement.pdfsig(signed) == [True]
    material = judgement.dss(document)
    both = authority.root_pem.read_bytes() + service.anchor_pem.read_bytes()
    assert judgement.pyhanko(document, both, material) == [True]
    assert judgement.pyhanko(document, service.anchor_pem.read_bytes(), material) == [False]
    assert {
        judgement.openssl_ocsp(one, material.certificates, tmp_path)
        for one in material.ocsp_responses
    } == {"good"}
