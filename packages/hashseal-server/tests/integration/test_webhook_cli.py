"""The operator's commands on webhooks, and the rule of low quota."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hashseal_core.errors import AccountNotFound, HashsealError, InvalidValue, NotFound
from hashseal_core.webhooks import decode_secret
from hashseal_server import cli


def run(*words: str) -> Any:
    outcome = CliRunner().invoke(cli.app, [*words, "--json"])
    assert outcome.exit_code == 0, outcome.output
    lines = outcome.stdout.splitlines()
    return json.loads(lines[0]) if lines else None


def plain(*words: str) -> str:
    outcome = CliRunner().invoke(cli.app, words)
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def refused(*words: str) -> HashsealError:
    error = CliRunner().invoke(cli.app, words).exception
    assert isinstance(error, HashsealError), error
    return error


def test_an_operator_handles_webhooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHSEAL_DATA_DIR", str(tmp_path / "service"))
    account = run("account", "create", "Test Organisation")["id"]
    own = ("--account", account)
    made = run(
        *("webhook", "create", *own, "--url", "https://hooks.example.com/x"),
        *("--event-type", "quota.low", "--event-type", "credential.revoked"),
    )
    secret, webhook = made.pop("secret"), made["id"]
    assert len(decode_secret(secret)) == 32
    assert made["types"] == ["credential.revoked", "quota.low"]
    assert run("webhook", "show", webhook, *own) == made == run("webhook", "list", *own)
    rotated = run("webhook", "rotate", webhook, *own, "--overlap-hours", "1")
    assert rotated["secret"] != secret
    assert rotated["previous_secret_until"] is not None
    event = run("webhook", "test", webhook, *own)
    delivery = run("webhook", "deliveries", webhook, *own)
    assert (delivery["event_id"], delivery["state"]) == (event["id"], "pending")
    assert run("webhook", "disable", webhook, *own)["disabled_because"] == "asked"
    assert f"{webhook}  disabled: asked" in plain("webhook", "list", *own)
    assert "failed" in plain("webhook", "deliveries", webhook, *own)
    assert run("webhook", "enable", webhook, *own)["enabled"] is True
    assert run("webhook", "redeliver", webhook, delivery["id"], *own)["state"] == "pending"
    assert "enabled" in plain("webhook", "list", *own)
    for words, error in (
        (("webhook", "create", *own, "--url", "http://127.0.0.1/"), InvalidValue),
        (
            ("webhook", "create", "--account", "x", "--url", "https://a.example.com"),
            AccountNotFound,
        ),
        (("webhook", "show", "whk_x", *own), NotFound),
        (("webhook", "delete", webhook, "--account", "x"), NotFound),
        (("account", "quota-rule", *own, "--percent", "101"), InvalidValue),
    ):
        assert isinstance(refused(*words), error), words
    assert run("webhook", "delete", webhook, *own) == {"id": webhook, "removed": True}
    assert run("webhook", "list", *own) is None
    rule = run("account", "quota-rule", *own)
    assert (rule["percent"], rule["calls"], rule["told_at_calls_left"]) == (10, 10, 10)
    rule = run("account", "quota-rule", *own, "--percent", "50")
    assert (rule["measured_by"], rule["told_at_calls_left"]) == (100, 50)
    assert run("audit", "verify")["intact"] is True
