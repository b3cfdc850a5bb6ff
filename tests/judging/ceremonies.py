"""A ceremony's two sides, each in a folder, and the commands that operators give on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hashseal_core.errors import HashsealError
from hashseal_core.problems import problem_of
from hashseal_server import cli

PEOPLE = ("--present", "First Keeper: key", "--present", "Second Keeper: witness")
PASSPHRASE = "correct horse battery staple"


class Place:
    """An online side and an offline one, each with a folder; commands as operators give them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._patch = folder, monkeypatch
        self.secret = folder / "passphrase"
        self.secret.write_text(PASSPHRASE + "\n")
        self.secret.chmod(0o600)
        self._count = 0
        self._given: dict[str, str] = {}

    def run(self, *words: str, fails: str | None = None, **settings: str) -> dict[str, Any]:
        """One command of the online side; the code of its error if it fails."""
        given = {
            "DATA_DIR": str(self.folder / "online"),
            "PUBLIC_URL": "http://pki.example.com",
            "ROOT": "offline",
            **settings,
        }
        for name in self._given.keys() - given.keys():
            self._patch.delenv(f"HASHSEAL_{name}")
        for name, value in given.items():
            self._patch.setenv(f"HASHSEAL_{name}", value)
        self._given = given
        outcome = CliRunner().invoke(cli.app, [*words, "--json"])
        if fails is not None:
            assert isinstance(outcome.exception, HashsealError), outcome.output
            assert problem_of(outcome.exception).code == fails, outcome.exception
            return {"detail": outcome.exception.detail}
        assert outcome.exit_code == 0, (outcome.output, outcome.exception)
        return json.loads(outcome.stdout.splitlines()[0])

    def ceremony(self, *words: str, fails: str | None = None, **settings: str) -> Path:
        """One ceremony; the folder with its results. Keys in a token have no passphrase."""
        self._count += 1
        in_token = settings.get("KEYSTORE") == "pkcs11"
        out = self.folder / f"results-{self._count}"
        self.said = self.run(
            *("pki", "ceremony", "--folder", str(self.folder / "offline"), "--out", str(out)),
            *PEOPLE,
            *(() if in_token else ("--passphrase-file", str(self.secret))),
            *words,
            fails=fails,
            **{"DATA_DIR": str(self.folder / "nothing here"), **settings},
        )
        return out

    def request(self) -> tuple[str, str]:
        """A request of the online side, and its fingerprint."""
        path = str(self.folder / "issuing.csr")
        return path, self.run("pki", "request-issuing", "--out", path)["fingerprint"]

    def install(self, out: Path, name: str = "issuing", **options: Any) -> dict[str, Any]:
        return self.run(
            *("pki", "install-issuing", "--root", str(out / "root.cer")),
            *("--certificate", str(out / f"{name}.cer"), "--crl", str(out / "root.crl")),
            **options,
        )
