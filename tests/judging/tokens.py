"""SoftHSM2 tokens of a test's own, and signer processes over them."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from hashseal_server.keystore.folder import sockets

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN, OFFICER_PIN = "147 258-369", "officer-0815"


@dataclass
class Tokens:
    """A folder with one token for each label; `settings` are those of signers over them.

    `pins` are by label; of the others it is the same.
    """

    folder: Path
    labels: tuple[str, ...] = ("seal", "ca")
    purposes: dict[str, str] = field(
        default_factory=lambda: {
            "seal": "seal", "tsu": "seal", "ca": "ca", "ocsp": "ca", "audit": "ca"
        }
    )  # fmt: skip
    pins: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "tokens").mkdir(parents=True)
        self.configuration = self.folder / "softhsm2.conf"
        self.configuration.write_text(
            f"directories.tokendir = {self.folder / 'tokens'}\n"
            "objectstore.backend = file\nlog.level = ERROR\n"
        )
        for label in self.labels:
            self.run(
                "softhsm2-util", "--init-token", "--free", "--label", label,
                "--so-pin", OFFICER_PIN, "--pin", self.pin(label),
            )  # fmt: skip
            self.secret(f"pin-{label}", self.pin(label).encode() + b"\n")
        for name, content in (("pin", PIN), ("officer-pin", OFFICER_PIN)):
            self.secret(name, content.encode() + b"\n")
        self.authorisation_key = secrets.token_bytes(32).replace(b"\n", b"x").replace(b"\r", b"x")
        self.secret("authorisation-key", self.authorisation_key)
        self.signers = self.folder / "signers"
        self.begun: list[subprocess.Popen[bytes]] = []

    def pin(self, label: str) -> str:
        return self.pins.get(label, PIN)

    def secret(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a signer process."""
        return self.serving(*self.purposes)

    def serving(self, *purposes: str) -> dict[str, str]:
        """Those of a signer that serves these purposes alone, and has no other PINs."""
        tokens = {purpose: self.purposes[purpose] for purpose in purposes}
        pins = {purpose: str(self.folder / f"pin-{label}") for purpose, label in tokens.items()}
        return {
            **os.environ,
            "SOFTHSM2_CONF": str(self.configuration),
            "HASHSEAL_DATA_DIR": str(self.folder / "data"),
            "HASHSEAL_KEYSTORE": "pkcs11",
            "HASHSEAL_PKCS11_MODULE": str(MODULE),
            "HASHSEAL_PKCS11_TOKENS": _json(tokens),
            "HASHSEAL_PKCS11_PIN_FILES": _json(pins),
            "HASHSEAL_SIGNER_FOLDER": str(self.signers),
            "HASHSEAL_AUTHORISATION_KEY_FILE": str(self.folder / "authorisation-key"),
        }

    def run(
        self, *words: str, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """A tool that sees these tokens."""
        environment = {**os.environ, "SOFTHSM2_CONF": str(self.configuration)}
        return subprocess.run(
            words, env=environment, check=check, capture_output=True, text=True, timeout=timeout
        )

    def tool(self, *words: str, label: str = "seal") -> subprocess.CompletedProcess[str]:
        """`pkcs11-tool`, logged in with the right PIN."""
        login = (
            "--module",
            str(MODULE),
            "--token-label",
            label,
            "--login",
            "--pin",
            self.pin(label),
        )
        return self.run("pkcs11-tool", *login, *words, check=False)

    def start(self, count: int = 1, **changes: str) -> list[subprocess.Popen[bytes]]:
        """Signer processes, ready to be called."""
        before = set(sockets(self.signers))
        environment = {**self.environment, **changes}
        begun = [
            subprocess.Popen([sys.executable, "-m", "hashseal_server.signers"], env=environment)
            for _ in range(count)
        ]
        self.begun += begun
        until = time.monotonic() + 60
        while len(set(sockets(self.signers)) - before) < count:
            assert time.monotonic() < until, "the signers do not start"
            assert all(one.poll() is None for one in begun), "a signer ended at once"
            time.sleep(0.02)
        return begun


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Let them finish."""
    for one in processes:
        if one.poll() is None:
            one.terminate()
    for one in processes:
        one.wait(30)


def _json(values: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{name}": "{value}"' for name, value in values.items()) + "}"
