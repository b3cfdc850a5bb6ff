"""The commands of docs/how-to/import-a-certificate.md, as an operator types them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from public_authority import PublicAuthority
from typer.testing import CliRunner

from hashseal_core.errors import StorageUnavailable
from hashseal_server import cli
from hashseal_server.pki.foreign_store import ForeignStore
from hashseal_server.seals.request_store import RequestStore

pytestmark = pytest.mark.tools

ROOT = Path(__file__).resolve().parents[4]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HASHSEAL_DATA_DIR", str(tmp_path / "service"))
    monkeypatch.setenv("HASHSEAL_OUTBOUND_NETWORKS", '["127.0.0.1/32"]')
    return tmp_path


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[PublicAuthority]:
    made = PublicAuthority(tmp_path / "authority")
    yield made
    made.close()


def run(*arguments: str | Path, code: int = 0) -> Any:
    outcome = CliRunner().invoke(cli.app, [*map(str, arguments), "--json"])
    assert outcome.exit_code == code, outcome.output
    return [json.loads(line) for line in outcome.stdout.splitlines()]


def refusal(monkeypatch, capsys, *arguments: str | Path) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", ["hashseal-server", *map(str, arguments), "--json"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return json.loads(captured.out.splitlines()[-1])


def pkcs12(folder: Path, authority: PublicAuthority, password: str) -> Path:
    """A key that somebody made with openssl, with its certificate and the intermediate."""

    def openssl(*words: str | Path) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True)

    key, request, made = folder / "k.pem", folder / "k.csr", folder / "acme.p12"
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-out", key)
    openssl("req", "-new", "-key", key, "-subj", "/O=Acme/CN=From a file", "-out", request)
    certificate = authority.sign(request)
    openssl(
        *("pkcs12", "-export", "-inkey", key, "-in", certificate, "-out", made),
        *("-certfile", authority.issuing_pem, "-passout", f"pass:{password}"),
    )
    return made


def test_its_commands_work(folder: Path, authority: PublicAuthority) -> None:
    page = (ROOT / "docs" / "how-to" / "import-a-certificate.md").read_text(encoding="utf-8")
    request, import_, after, file = BLOCK.findall(page)
    environment = {**os.environ, "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"}

    def shell(*lines: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    run("init")
    account = run("account", "create", "Acme")[0]["id"]
    said = shell(f"account={account}", request)
    assert "warning: the key is kept in software" in said.stderr
    assert "waits for its certificate" in said.stdout
    (waiting,) = run("credential", "list")
    (folder / "acme.pem").write_bytes(authority.sign(folder / "acme.csr").read_bytes())
    for name, path in (("intermediate", authority.issuing_pem), ("root", authority.root_pem)):
        (folder / f"{name}.pem").write_bytes(path.read_bytes())
    said = shell(f"request={waiting['request']}", import_)
    assert re.search(r"status data\s+good", said.stdout)
    (seal,) = [one["seal"] for one in run("credential", "list")]
    said = shell(f"account={account}", f"seal={seal}", after)
    assert "have its authority revoke the certificate too" in said.stdout
    pkcs12(folder, authority, "secret words")
    (folder / "password").write_text("secret words\n")
    whole = file.replace("--confirm-addresses", "--certificate root.pem --confirm-addresses")
    said = shell(f"account={account}", whole)
    assert "whoever has a copy of it can sign" in said.stderr
    assert "secret words" not in said.stdout + said.stderr
    assert run("audit", "verify")[0]["intact"] is True


def test_confirmed_later(folder: Path, authority: PublicAuthority, monkeypatch, capsys) -> None:
    run("init")
    account = run("account", "create", "Acme")[0]["id"]
    asked = ("credential", "csr", "--account", account, "--name", "S", "--organisation", "Acme")
    (made,) = run(*asked, "--out", folder / "a.csr", "--algorithm", "RSA-2048")
    assert [one for one in made["warnings"] if "RSA-2048" in one]
    said = refusal(monkeypatch, capsys, *asked, "--out", folder / "a.csr")
    assert said["code"] == "output-refused"
    (again,) = run("credential", "export", made["request"], "--out", folder / "b.csr")
    assert again["request"] == made["request"]
    assert (folder / "b.csr").read_bytes() == (folder / "a.csr").read_bytes()
    certificate = authority.sign(folder / "a.csr")
    bring = ("credential", "import", made["request"], "--certificate", certificate)
    said = refusal(monkeypatch, capsys, *bring)
    assert said["code"] == "certificate-refused"
    assert "CN=Public CA" in said["detail"]
    chain = [word for path in authority.chain for word in ("--certificate", path)]
    (done,) = run(*bring, *chain)
    assert (done["confirmed"], done["status_data"]) == (False, "none yet")
    assert len(done["addresses"]) == 4
    assert not authority.asked
    (command,) = [one for one in done["warnings"] if "credential confirm" in one]
    assert done["id"] in command
    authority.away = True
    (confirmed,) = run("credential", "confirm", done["id"], "--account", account)
    assert (confirmed["confirmed"], confirmed["status_data"]) == (True, "none yet")
    assert [one for one in confirmed["warnings"] if "answered 503" in one]
    authority.away = False
    (confirmed,) = run("credential", "confirm", done["id"], "--account", account)
    assert confirmed["status_data"] == "good"
    said = refusal(monkeypatch, capsys, *bring[:-1], folder / "nothing")
    assert said["code"] == "input-unreadable"


def test_pkcs12_that_is_refused(
    folder: Path, authority: PublicAuthority, monkeypatch, capsys
) -> None:
    run("init")
    account = run("account", "create", "Acme")[0]["id"]
    path, password = pkcs12(folder, authority, "secret words"), folder / "password"
    bring = ("credential", "import-pkcs12", path, "--account", account)
    bring += ("--password-file", password)
    password.write_text("other words")
    assert refusal(monkeypatch, capsys, *bring)["code"] == "invalid-value"
    password.write_text("secret words")
    before = len(list((folder / "service" / "keys").iterdir()))
    said = refusal(monkeypatch, capsys, *bring)  # the root is missing
    assert said["code"] == "certificate-refused"
    assert len(list((folder / "service" / "keys").iterdir())) == before
    root = ("--certificate", authority.root_pem)
    (done,) = run(*bring, *root, "--pss")
    assert done["confirmed"] is False
    said = refusal(monkeypatch, capsys, *bring, *root)
    assert done["id"] in said["detail"]
    assert len(list((folder / "service" / "keys").iterdir())) == before + 1
    path.write_bytes(b"\x30\x03junk")
    assert refusal(monkeypatch, capsys, *bring)["code"] == "invalid-value"


def test_what_is_recorded_keeps_its_key(
    folder: Path, authority: PublicAuthority, monkeypatch, capsys
) -> None:
    run("init")
    account = run("account", "create", "Acme")[0]["id"]
    path, password = pkcs12(folder, authority, "secret words"), folder / "password"
    password.write_text("secret words")
    keys = folder / "service" / "keys"
    bring = ("credential", "import-pkcs12", path, "--account", account)
    bring += ("--password-file", password, "--certificate", authority.root_pem)

    async def lost(*_: Any, **__: Any) -> None:
        raise StorageUnavailable("the database went away")

    before = len(list(keys.iterdir()))
    with monkeypatch.context() as away:  # nobody can tell whether the seal is recorded
        away.setattr(RequestStore, "bring", lost)
        assert refusal(monkeypatch, capsys, *bring)["code"] == "storage-unavailable"
    assert len(list(keys.iterdir())) == before + 1
    with monkeypatch.context() as away:  # it is; its status data is fetched again by a job
        away.setattr(ForeignStore, "keep", lost)
        (done,) = run(*bring, "--confirm-addresses")
    assert len(list(keys.iterdir())) == before + 2
    assert run("seal", "list", "--account", account)[0]["id"] == done["id"]
