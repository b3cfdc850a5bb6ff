"""The operator's command, on a data folder of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hashseal_core.algorithms import (
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_core.errors import ConfigurationInvalid, KeystoreUnavailable, OutputRefused
from hashseal_server import cli
from hashseal_server.keystore.software import SoftwareKeyStore
from hashseal_server.main import sandbox, sequencing
from hashseal_server.settings import load, unknown_variables


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HASHSEAL_DATA_DIR", str(tmp_path / "service"))
    return tmp_path


def run(*arguments: str, code: int = 0) -> Any:
    outcome = CliRunner().invoke(cli.app, [*arguments, "--json"])
    assert outcome.exit_code == code, outcome.output
    lines = outcome.stdout.splitlines()
    return json.loads(lines[0]) if lines else None


SEAL = ("--name", "Test Seal", "--organisation", "Test Organisation", "--country", "CH")


def test_an_operator_s_day(folder: Path) -> None:
    assert run("init") == run("init")
    assert (folder / "service" / "trust-anchor.pem").read_text().startswith("-----BEGIN")
    account = run("account", "create", "Test Organisation")["id"]
    assert run("account", "list")["id"] == account
    token = run("token", "create", "--account", account)
    assert token["token"].startswith(f"hs_{token['id']}_")
    assert run("token", "revoke", token["id"])["revoked"] is True
    order = run("order", "record", "--account", account, "--calls", "10", "--unit-price", "0.40")
    assert (order["amount"], order["paid_calls"]) == ("4.00", 10)
    run("entitlement", "grant", "contracts", "--account", account)
    run("entitlement", "withdraw", "contracts", "--account", account)
    identifier = ("--organisation-identifier", "NTRCH-1")
    seal = run("seal", "create", "--account", account, *SEAL, *identifier)
    assert run("seal", "revoke", seal["id"], "--account", account)["revoked"] is True
    verified = run("audit", "verify")
    assert verified["intact"] is True
    # account, token, its end, order, two entitlements, seal, its revocation, and certificates
    assert verified["entries"] == verified["published"] > 8
    assert run("check-config")["unknown_variables"] == []
    plain = CliRunner().invoke(cli.app, ["account", "list"])
    assert account in plain.stdout


def test_the_audit_log_is_verified_from_an_export(folder: Path) -> None:
    run("init")
    assert CliRunner().invoke(cli.app, ["audit", "export"]).exit_code == 0
    bad = {
        "position": 1, "record_id": 1, "event": "x", "account_id": None,
        "content": "{}", "recorded_at": "2026-01-01T00:00:00+00:00", "hash": "00",
    }  # fmt: skip
    path = folder / "export.jsonl"
    path.write_text(json.dumps(bad))
    found = run("audit", "verify", "--export", str(path), code=1)
    assert found["first_bad_position"] == 1


def complaint(monkeypatch: pytest.MonkeyPatch, capsys, *arguments: str) -> tuple[str, str]:
    monkeypatch.setattr(sys, "argv", ["hashseal-server", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_errors_are_one_line_or_one_object(monkeypatch, capsys, folder: Path) -> None:
    asked = ("token", "create", "--account", "nobody")
    out, err = complaint(monkeypatch, capsys, *asked)
    assert "(account-not-found)" in err
    assert "Traceback" not in err
    out, err = complaint(monkeypatch, capsys, *asked, "--json")
    assert json.loads(out)["code"] == "account-not-found"
    price = ("order", "record", "--account", "x", "--calls", "1", "--unit-price", "cheap")
    assert "invalid-value" in complaint(monkeypatch, capsys, *price)[1]
    missing = ("audit", "verify", "--export", str(folder / "nothing"))
    assert "input-unreadable" in complaint(monkeypatch, capsys, *missing)[1]
    assert "run `hashseal-server init`" in complaint(monkeypatch, capsys, "run", "--port", "1")[1]
    token = ("token", "revoke", "0000000000000000")
    assert "token-invalid" in complaint(monkeypatch, capsys, *token)[1]


def test_settings(monkeypatch, folder: Path) -> None:
    path = folder / "hashseal.toml"
    monkeypatch.setenv("HASHSEAL_CONFIG", str(path))
    with pytest.raises(ConfigurationInvalid, match="not there"):
        load()
    path.write_text('public_url = "https://sign.example.com"\nport = 9000\n')
    assert (load().public_url, load().port) == ("https://sign.example.com", 9000)
    monkeypatch.setenv("HASHSEAL_PORT", "9001")
    assert load().port == 9001
    path.write_text("unknown = 1\n")
    with pytest.raises(ConfigurationInvalid, match="unknown"):
        load()
    path.write_text("= broken")
    with pytest.raises(ConfigurationInvalid):
        load()
    monkeypatch.delenv("HASHSEAL_CONFIG")
    monkeypatch.setenv("HASHSEAL_PROT", "1")
    assert unknown_variables({"HASHSEAL_PROT": "1", "HASHSEAL_PORT": "2"}) == ["HASHSEAL_PROT"]
    run("check-config", code=1)
    monkeypatch.delenv("HASHSEAL_DATA_DIR")
    assert load().data_dir.name == "hashseal-server"


def test_the_sandbox_starts_twice_and_chains_its_audit(folder: Path) -> None:
    async def scenario() -> None:
        for _ in range(2):
            async with sandbox(folder / "sandbox") as opened:
                assert set(opened.seal_ids) == {"P-256", "RSA-3072"}
                await asyncio.sleep(1.2)

    asyncio.run(scenario())
    assert sequencing is not None


def test_a_folder_that_cannot_be_used(folder: Path) -> None:
    (folder / "file").write_text("")

    async def scenario() -> None:
        async with sandbox(folder / "file"):
            pass

    with pytest.raises(OutputRefused):
        asyncio.run(scenario())


def test_the_software_key_store(folder: Path) -> None:
    store = SoftwareKeyStore(folder / "keys", b"secret")
    store.health()
    store.health()
    elliptic, rsa = store.generate(KeyAlgorithm.P256), store.generate(KeyAlgorithm.RSA2048)
    assert oct((folder / "keys" / f"{elliptic}.p8").stat().st_mode)[-3:] == "600"
    pkcs1 = SignatureAlgorithm(SignatureScheme.RSA_PKCS1, DigestAlgorithm.SHA256)
    ecdsa = SignatureAlgorithm(SignatureScheme.ECDSA, DigestAlgorithm.SHA256)
    for key, algorithm in ((elliptic, pkcs1), (rsa, ecdsa)):
        with pytest.raises(KeystoreUnavailable, match="kind"):
            store.sign(key, b"words", algorithm)
    again = SoftwareKeyStore(folder / "keys", b"secret")
    assert again.public_key(rsa) == store.public_key(rsa)
    with pytest.raises(KeystoreUnavailable):
        SoftwareKeyStore(folder / "keys", b"other").public_key(rsa)
    store.destroy(rsa)
    with pytest.raises(KeystoreUnavailable):
        store.public_key(rsa)
    (folder / "blocked").write_text("")
    with pytest.raises(KeystoreUnavailable):
        SoftwareKeyStore(folder / "blocked", b"x").generate(KeyAlgorithm.P256)
