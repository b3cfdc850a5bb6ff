"""Every command of `hashseal-gateway`, and what it says when something is wrong."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import leaking
import pytest
from gateway_command import PREFIX, SHOWN

from hashseal_gateway import cli

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(
    service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    token, seen, errors = tmp_path / "token", leaking.Watch(), []
    token.touch(mode=0o600)
    token.write_text(service.token)
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path / "gateway"))
    monkeypatch.setenv(f"{PREFIX}SERVICE_URL", service.url)
    monkeypatch.setenv(f"{PREFIX}SERVICE_TOKEN_FILE", str(token))

    def command(*words: str | Path, code: int = 0, as_json: bool = True) -> dict[str, Any]:
        arguments = [*map(str, words), *(["--json"] if as_json else [])]
        monkeypatch.setattr(sys, "argv", ["hashseal-gateway", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
            raise SystemExit(0)
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said
        assert "Traceback" not in said.err
        errors.append(said.err.encode())
        if not as_json:
            return {"out": said.out, "err": said.err}
        told = json.loads(said.out.splitlines()[-1])
        for name in SHOWN:
            seen.learn(name, told.get(name))
        return told

    yield command
    kept = {"files": leaking.files(tmp_path / "gateway"), "errors": b"".join(errors)}
    assert seen.leaks(kept) == []


def test_people_and_keys(run: Run) -> None:
    assert run("init")["database"] == "0002"
    assert run("user", "create", "Ada", "--role", "administrator")["password"]
    assert [one["name"] for one in run("user", "list")["users"]] == ["ada"]
    assert "administrator" in run("user", "list", as_json=False)["out"]
    assert run("user", "password", "ada")["password"]
    assert run("user", "totp", "ada")["address"].startswith("otpauth://")
    assert run("user", "disable", "ada")["disabled"] is True
    assert "disabled" in run("user", "list", as_json=False)["out"]
    made = run("key", "create", "erp", "--seal", "x", "--expires", "2030-01-01T00:00:00Z")
    assert run("key", "list")["keys"][0]["seals"] == ["x"]
    assert run("key", "revoke", made["id"])["revoked"] is True
    assert "revoked" in run("key", "list", as_json=False)["out"]
    assert run("key", "create", "a", "--expires", "soon", code=1)["code"] == "invalid-value"
    assert run("user", "create", "ada", code=1)["field"] == "name"
    assert run("key", "revoke", "none", code=1)["code"] == "not-found"
    shown = run("user", "disable", "nobody", code=1, as_json=False)
    assert "there is no such user (not-found)" in shown["err"]


def test_a_password_from_a_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_text("a very long password\n")
    assert "password" not in run("user", "create", "bob", "--password-file", path)
    path.chmod(0o644)
    refused = run("user", "password", "bob", "--password-file", path, code=1)
    assert "chmod 600" in refused["detail"]


def test_settings(run: Run, service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run("check-config", "--ask")
    assert (shown["service"], len(shown["seals"])) == ("ok", 2)
    assert shown["calls_left"] > 0
    monkeypatch.setenv(f"{PREFIX}COLOUR", "red")
    assert run("check-config", code=1)["unknown_variables"] == [f"{PREFIX}COLOUR"]
    monkeypatch.delenv(f"{PREFIX}COLOUR")
    monkeypatch.setenv(f"{PREFIX}PUBLIC_URL", "https://sign.example.com")
    assert "trusted_proxies" in run("check-config")["warning"]
    monkeypatch.setenv(f"{PREFIX}TRUSTED_PROXIES", '["127.0.0.1/32"]')
    assert "warning" not in run("check-config")
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", "postgresql://me:secret-word@localhost/x")
    assert "secret-word" not in json.dumps(run("check-config"))
    monkeypatch.delenv(f"{PREFIX}DATABASE_URL")
    (tmp_path / "token").write_text("hs_wrong")
    told = run("check-config", "--ask", code=1)
    assert told["service"].startswith("configuration-invalid")
    (tmp_path / "token").write_text(service.token)
    monkeypatch.delenv(f"{PREFIX}SERVICE_URL")
    token = tmp_path / "token"
    monkeypatch.delenv(f"{PREFIX}SERVICE_TOKEN_FILE")
    assert run("run", code=1, as_json=True)["code"] == "configuration-invalid"
    shutil.rmtree(tmp_path / "gateway", ignore_errors=True)
    words = ("init", "--service-url", service.url, "--service-token-file", token)
    assert run(*words)["settings"].endswith("gateway.toml")
    assert run("check-config")["service_url"] == service.url
    assert run(*words, code=1)["code"] == "configuration-invalid"


def test_watch(run: Run, service, tmp_path: Path) -> None:
    refused = run("watch", tmp_path / "none", tmp_path / "out", code=1)
    assert refused["code"] == "configuration-invalid"
    (tmp_path / "in").mkdir()
    done = run("watch", tmp_path / "in", tmp_path / "out", "--once", as_json=False)
    assert done["out"] == ""
