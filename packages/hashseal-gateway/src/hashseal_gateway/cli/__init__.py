"""The command `hashseal-gateway`. Errors are one line; `--json` is for machines."""

from __future__ import annotations

import io
import json
import sys

import typer
from rich.console import Console

from hashseal_core.errors import HashsealError
from hashseal_core.problems import problem_of
from hashseal_gateway.cli.people import key_app, user_app
from hashseal_gateway.cli.service import service_app
from hashseal_gateway.cli.watching import watch_app

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="PDF in, signed PDF out, on the company's own machine.",
)
app.add_typer(service_app)
app.add_typer(watch_app)
app.add_typer(user_app, name="user")
app.add_typer(key_app, name="key")
_err = Console(stderr=True)


def main() -> None:
    """Entry point; never a traceback for what an administrator did."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except HashsealError as error:
        row = problem_of(error)
        if "--json" in sys.argv:
            shown = {"code": row.code, "detail": error.detail, "action": row.action}
            print(json.dumps({**shown, "field": error.field}))
        else:
            _err.print(f"error: {error.detail} ({row.code})", markup=False, highlight=False)
            _err.print(f"       {row.action}", markup=False, highlight=False)
        sys.exit(1)
