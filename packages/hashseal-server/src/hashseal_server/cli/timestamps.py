"""Timestamp authorities that the service asks."""

from __future__ import annotations

import secrets
from typing import Any

import typer
from cryptography import x509

from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import ConfigurationInvalid, HashsealError
from hashseal_server.cli.shell import Json, show, with_operator
from hashseal_server.main import Operator

timestamp_app = typer.Typer(
    no_args_is_help=True, help="Timestamp authorities that the service asks."
)


@timestamp_app.callback()
def timestamp_group() -> None:
    """Keep `check` a command of its own."""


@timestamp_app.command("check")
def timestamp_check(as_json: Json = False) -> None:
    """Take a timestamp from each configured authority, verify it, show what it says."""

    async def work(opened: Operator) -> list[dict[str, Any]]:
        external = opened.external_timestamps()
        if external is None:
            raise ConfigurationInvalid(
                "timestamp_urls names no authority: the service is its own", field="timestamp_urls"
            )
        found: list[dict[str, Any]] = []
        for authority in external.authorities:
            digest = Digest(DigestAlgorithm.SHA256, secrets.token_bytes(32))
            try:
                token = await external.ask(authority, digest)
            except HashsealError as error:
                found.append({"host": authority.name, "code": error.code, "why": error.detail})
                continue
            unit = x509.load_der_x509_certificate(token.tsu_certificate)
            found.append(
                {
                    "host": authority.name,
                    "time": token.content.generated_at,
                    "accuracy_ms": token.content.accuracy_ms,
                    "policy": token.content.policy,
                    "octets": len(token.der),
                    "unit": unit.subject.rfc4514_string(),
                    "unit_valid_until": unit.not_valid_after_utc,
                }
            )
        return found

    found = with_operator(work)
    if as_json:
        show({"authorities": found}, as_json=True)
    else:
        for one in found:
            show(one, as_json=False)
    if any("why" in one for one in found):
        raise typer.Exit(1)
