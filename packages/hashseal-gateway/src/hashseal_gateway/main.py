"""Composition root of the gateway: an empty shell that says so until the gateway is built."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version

import typer

NOT_BUILT = "the gateway is not built yet; `hashseal sign` signs PDF files from the command line"


def run(arguments: Sequence[str]) -> int:
    """Answer `--version`; for anything else say that there is nothing here yet.

    Returns:
        The exit code: 0 after `--version`, 1 otherwise.
    """
    if list(arguments) == ["--version"]:
        typer.echo(f"hashseal-gateway {version('hashseal-gateway')}")
        return 0
    typer.echo(f"hashseal-gateway: {NOT_BUILT}", err=True)
    return 1


def main() -> None:
    """Entry point of the command `hashseal-gateway`."""
    sys.exit(run(sys.argv[1:]))
