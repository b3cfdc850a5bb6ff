"""Processes that hold the token's PIN."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from hashseal_core.errors import ConfigurationInvalid
from hashseal_server.cli.shell import Json, show
from hashseal_server.infra.supervisor import Supervisor
from hashseal_server.keystore.blocking import BlockingKeyStore
from hashseal_server.settings import load

signer_app = typer.Typer(no_args_is_help=True, help="Processes that hold the token's PIN.")
_START_SECONDS = 10.0


@signer_app.command("run")
def signer_run(
    processes: Annotated[int | None, typer.Option(help="how many processes")] = None,
    as_json: Json = False,
) -> None:
    """Sign with the keys of a PKCS#11 token until SIGTERM; the PIN stays in these processes."""
    given = {} if processes is None else {"signer_processes": processes}
    settings = load(**given)
    words = _signer_words()
    show({"folder": settings.signers, "processes": settings.signer_processes}, as_json=as_json)
    sys.stdout.flush()
    Supervisor(lambda: _child(words), settings.signer_processes).run()


@signer_app.command("wrapping-key")
def signer_wrapping_key(
    officer_pin_file: Annotated[Path, typer.Option(help="PIN of the token's security officer")],
    as_json: Json = False,
) -> None:
    """Make the token's key under which customers' keys are wrapped; once for each token."""
    label = load().pkcs11_tokens.get("seal")
    with _child([*_signer_words(), "--wrapping-key", str(officer_pin_file)]) as made:
        if made.wait():
            raise typer.Exit(1)
    show({"token": label, "wrapping_key": "made"}, as_json=as_json)


@signer_app.command("check")
def signer_check(as_json: Json = False) -> None:
    """Make a real signature in every signer process that runs on this machine."""
    BlockingKeyStore(load().signers, patience=_START_SECONDS).health()
    show({"signers": "sign"}, as_json=as_json)


def _signer_words() -> list[str]:
    if importlib.util.find_spec("pkcs11") is None:
        raise ConfigurationInvalid("install hashseal-server with its extra `hsm`")
    return [sys.executable, "-m", "hashseal_server.signers"]


def _child(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, start_new_session=True)  # noqa: S603 - this very program
