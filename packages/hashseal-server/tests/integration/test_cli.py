"""The operator's command, on a data folder of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
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
from hashseal_core.errors import (
    ConfigurationInvalid,
    HashsealError,
    InvalidValue,
    KeystoreUnavailable,
    NotFound,
    OutputRefused,
)
from hashseal_server import cli
from hashseal_server.keystore.software import SoftwareKeyStore
from hashseal_server.sandbox import sandbox
from hashseal_server.sequencing import sequencing
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


def test_tokens_and_clients(folder: Path) -> None:
    account = run("account", "create", "Test Organisation")["id"]
    words = ("--scope", "read", "--scope", "sign", "--allow", "192.0.2.0/24", "--label", "ERP")
    made = run("token", "create", "--account", account, *words, "--expires", "90d")
    assert made["scopes"] == ["read", "sign"]
    assert made["networks"] == ["192.0.2.0/24"]
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert 89 <= left.days <= 90
    never = run("token", "create", "--account", account, "--expires", "never")
    assert never["expires_at"] is None
    until = run("token", "create", "--account", account, "--expires", "2099-01-01T00:00:00Z")
    assert until["expires_at"].startswith(("2098-12-31T23:59:59", "2099-01-01"))
    listed = {one["id"]: one for one in lines("token", "list", "--account", account)}
    assert set(listed) == {made["id"], never["id"], until["id"]}
    assert (listed[made["id"]]["label"], listed[made["id"]]["status"]) == ("ERP", "active")
    assert "token" not in listed[made["id"]]
    turned = run("token", "rotate", made["id"], "--overlap", "2")
    assert turned["id"] == made["id"]
    assert turned["token"] != made["token"]
    assert turned["earlier_until"] is not None
    own = run("token", "regenerate", "--account", account)
    assert own["scopes"] == ["manage", "read", "sign"]
    assert run("token", "regenerate", "--account", account)["id"] == own["id"]
    assert run("token", "revoke", own["id"])["revoked"] is True
    plain = CliRunner().invoke(cli.app, ["token", "list", "--account", account])
    assert f"{made['id']}  active  personal  ERP  read,sign  192.0.2.0/24" in plain.stdout
    assert own["id"] not in plain.stdout

    client = run("client", "create", "--account", account, *words)
    assert client["client_secret"].startswith(f"hsc_{client['client_id']}_")
    (one,) = lines("client", "list", "--account", account)
    assert (one["id"], one["scopes"]) == (client["client_id"], ["read", "sign"])
    again = run("client", "rotate", client["client_id"])
    assert again["client_secret"] != client["client_secret"]
    assert run("client", "revoke", client["client_id"])["revoked"] is True
    assert lines("client", "list", "--account", account) == []
    assert run("audit", "verify")["intact"] is True


def test_raw_credentials_are_made_with_a_warning_or_not_at_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("init")
    account = run("account", "create", "Test Organisation")["id"]
    wanted = ("credential", "create-raw", "--account", account, *SEAL)
    wanted = (*wanted, "--organisation-identifier", "NTRCH-1")
    refused = CliRunner().invoke(cli.app, [*wanted, "--json"])
    assert isinstance(refused.exception, ConfigurationInvalid)
    monkeypatch.setenv("HASHSEAL_RAW_SIGNING", "true")
    made = run(*wanted)
    assert "any digest signed" in made["warnings"][0]
    listed = run("credential", "list-raw", "--account", account)
    assert (listed["id"], listed["status"]) == (made["id"], "active")
    assert made["id"].startswith("raw-")
    run("pki", "revoke", made["serial"], "--reason", "keyCompromise")
    assert run("credential", "list-raw", "--account", account)["status"] == "revoked"
    shown = CliRunner().invoke(cli.app, [*wanted])
    assert "warning: " in shown.stderr


def test_certificates_come_and_go(folder: Path) -> None:
    run("init")
    account = run("account", "create", "Test Organisation")["id"]
    identifier = ("--organisation-identifier", "NTRCH-1")
    seal = run("seal", "create", "--account", account, *SEAL, *identifier)["id"]
    listed = run("seal", "list", "--account", account)
    assert (listed["id"], listed["status"]) == (seal, "active")
    assert 1090 < listed["days_left"] <= 1095
    renewed = run("seal", "renew", seal, "--account", account)
    assert (renewed["id"], renewed["new_key"]) == (seal, False)
    assert renewed["serial_before"] == listed["serial"]
    assert renewed["before"].startswith("valid until")
    again = run("seal", "rekey", seal, "--account", account, "--revoke-old")
    assert (again["new_key"], again["before"]) == (True, "revoked")
    assert run("seal", "list", "--account", account)["serial"] == again["serial"]
    plain = CliRunner().invoke(cli.app, ["seal", "list", "--account", account])
    assert "days left" in plain.stdout

    number = run("pki", "publish", "issuing")["number"]
    above = run("pki", "publish", "issuing", "--above", str(number + 1000))["number"]
    assert above == number + 1001
    assert run("pki", "renew-issuing")["authority"] == "issuing-2"
    unit = run("tsu", "create")["serial"]
    ended = run("pki", "revoke", unit, "--reason", "cessationOfOperation")
    assert (ended["role"], ended["revoked"]) == ("tsu", True)
    old = ("pki", "revoke", listed["serial"], "--reason", "keyCompromise")
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert run(*old, "--invalid-since", moment)["role"] == "seal"
    for words in (
        ("pki", "revoke", unit, "--reason", "superseded"),  # revoked already
        ("pki", "revoke", "xyz", "--reason", "superseded"),
        ("pki", "revoke", again["serial"], "--reason", "certificateHold"),
        (*old, "--invalid-since", "yesterday"),
        ("pki", "publish", "nobody"),
        ("pki", "install-list", str(folder / "nothing")),
    ):
        assert isinstance(CliRunner().invoke(cli.app, words).exception, HashsealError)
    plain = CliRunner().invoke(cli.app, ["pki", "list"])
    for what in ("root-1", "issuing-1", "responder-issuing-2", "crl-issuing", "tsu-1"):
        assert what in plain.stdout
    assert run("pki", "list")["what"] == "root-1"
    assert run("audit", "verify")["intact"] is True


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
    assert "not-found" in complaint(monkeypatch, capsys, *token)[1]
    for words in (
        ("token", "create", "--account", "x", "--scope", "everything"),
        ("token", "create", "--account", "x", "--allow", "10.0.0.1/8"),
        ("token", "create", "--account", "x", "--expires", "soon"),
        ("token", "create", "--account", "x", "--expires", "2020-01-01T00:00:00Z"),
        ("token", "rotate", "0000000000000000", "--overlap", "721"),
    ):
        assert "invalid-value" in complaint(monkeypatch, capsys, *words)[1], words
    for words in (
        ("token", "rotate", "0000000000000000"),
        ("client", "rotate", "0000000000000000"),
        ("client", "revoke", "0000000000000000"),
    ):
        assert "not-found" in complaint(monkeypatch, capsys, *words)[1], words
    for words in (
        ("token", "list", "--account", "x"),
        ("token", "regenerate", "--account", "x"),
        ("client", "create", "--account", "x"),
        ("client", "list", "--account", "x"),
    ):
        assert "account-not-found" in complaint(monkeypatch, capsys, *words)[1], words


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


def lines(*arguments: str) -> list[dict[str, Any]]:
    """One JSON object for each line."""
    outcome = CliRunner().invoke(cli.app, [*arguments, "--json"])
    assert outcome.exit_code == 0, outcome.output
    return [json.loads(line) for line in outcome.stdout.splitlines()]


def test_timestamping_units(folder: Path) -> None:
    run("init")
    (first,) = lines("tsu", "list")
    assert (first["state"], first["owner"]) == ("free", None)
    assert first["name"].startswith("Hashseal TEST TSU ")
    assert first["key_until"] < first["valid_until"]
    made = lines("tsu", "create", "--count", "2")
    assert len({first["name"], *(one["name"] for one in made)}) == 3
    followed = run("tsu", "rotate", first["serial"])
    assert run("tsu", "leave", made[0]["serial"]) == {"left": made[0]["serial"]}
    states = {one["serial"]: one["state"] for one in lines("tsu", "list")}
    assert states == {
        first["serial"]: "left",
        made[0]["serial"]: "left",
        made[1]["serial"]: "free",
        followed["serial"]: "free",
    }
    for command in ("rotate", "leave"):
        for serial in (first["serial"], "abc", "no number"):
            outcome = CliRunner().invoke(cli.app, ["tsu", command, serial])
            assert isinstance(outcome.exception, NotFound | InvalidValue)
    assert "free" in CliRunner().invoke(cli.app, ["tsu", "list"]).stdout
    assert run("audit", "verify")["intact"] is True
