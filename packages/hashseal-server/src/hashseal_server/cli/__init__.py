"""The operator's command `hashseal-server`. Errors are one line; `--json` is for machines."""

from __future__ import annotations

import json
import sys

import typer
from rich.console import Console

from hashseal_core.errors import HashsealError
from hashseal_core.problems import problem_of
from hashseal_server.cli.accounts import account_app, entitlement_app, order_app
from hashseal_server.cli.audit import audit_app
from hashseal_server.cli.credentials import credential_app
from hashseal_server.cli.pki import pki_app
from hashseal_server.cli.seals import seal_app
from hashseal_server.cli.service import service_app
from hashseal_server.cli.signers import signer_app
from hashseal_server.cli.timestamps import timestamp_app
from hashseal_server.cli.tokens import client_app, token_app
from hashseal_server.cli.tsu import tsu_app
from hashseal_server.cli.webhooks import webhook_app

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Operate the signing service.")
app.add_typer(service_app)
for _name, _group in (
    ("account", account_app),
    ("token", token_app),
    ("client", client_app),
    ("order", order_app),
    ("seal", seal_app),
    ("credential", credential_app),
    ("pki", pki_app),
    ("audit", audit_app),
    ("entitlement", entitlement_app),
    ("signer", signer_app),
    ("timestamp", timestamp_app),
    ("tsu", tsu_app),
    ("webhook", webhook_app),
):
    app.add_typer(_group, name=_name)
_err = Console(stderr=True)


def main() -> None:
    """Entry point; never a traceback for what an operator did."""
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
