"""The command `hashseal`: sign, verify, extend, inspect, sandbox.

The exit code is 0 only if all went well.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

from hashseal import pdf, sandbox, validation
from hashseal.client.http import Client
from hashseal.client.signing import SigningResult, extend, sign
from hashseal_core.algorithms import Level
from hashseal_core.errors import ConfigurationInvalid, HashsealError, InputUnreadable
from hashseal_core.problems import problem_of

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Sign PDF documents by their hash; verify."
)
sandbox_app = typer.Typer(no_args_is_help=True, help="The whole service in this process.")
app.add_typer(sandbox_app, name="sandbox")
_err = Console(stderr=True)

Files = Annotated[list[Path], typer.Argument(help="PDF files")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object per file")]
Url = Annotated[str | None, typer.Option(envvar="HASHSEAL_URL", help="the service's address")]
Token = Annotated[str | None, typer.Option(envvar="HASHSEAL_TOKEN", help="API token")]
UseSandbox = Annotated[bool, typer.Option("--sandbox", help="sign in this process, for tests")]
Password = Annotated[str | None, typer.Option(help="password of an encrypted file")]
Anchor = Annotated[
    list[Path] | None, typer.Option("--trust-anchor", help="PEM file of a trusted root")
]


def main() -> None:
    """Entry point; errors are one line, never a traceback."""
    try:
        app()
    except HashsealError as error:
        _complain(None, error, as_json="--json" in sys.argv)
        sys.exit(1)
    except OSError as error:
        _err.print(f"[red]error:[/] {error.strerror}: {error.filename}", highlight=False)
        sys.exit(1)


@app.command("sign")
def sign_command(
    files: Files,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="file, or folder for several files")
    ] = None,
    level: Annotated[Level, typer.Option(help="conformance level")] = Level.B_LT,
    seal: Annotated[
        str | None, typer.Option(help="SealID; default: the account's only one")
    ] = None,
    url: Url = None,
    token: Token = None,
    use_sandbox: UseSandbox = False,
    as_json: Json = False,
    jobs: Annotated[int, typer.Option(min=1, max=32, help="files at the same time")] = 1,
    force: Annotated[bool, typer.Option("--force", help="replace existing outputs")] = False,
    password: Password = None,
) -> None:
    """Sign files; only hashes leave this machine."""
    targets = _targets(files, output)
    options = pdf.SignatureOptions(contents_size=1, password=password)
    with _service(url, token, use_sandbox=use_sandbox) as client:

        def one(source: Path) -> dict[str, Any]:
            workflow = sign(
                source,
                targets[source],
                seal_id=seal,
                level=level,
                options=options,
                overwrite=force,
            )
            return _signed(client.run(workflow))

        _each(files, one, _say_signed, as_json=as_json, jobs=jobs)


@app.command()
def verify(files: Files, trust_anchor: Anchor = None, as_json: Json = False) -> None:
    """Say whether files are what was signed; offline."""
    anchors = _anchors(trust_anchor)

    def one(source: Path) -> dict[str, Any]:
        report: dict[str, Any] = msgspec.to_builtins(validation.validate(source, anchors))
        return {"file": str(source), **report}

    if not _each(files, one, _say_report, as_json=as_json):
        raise typer.Exit(1)


@app.command("extend")
def extend_command(
    file: Annotated[Path, typer.Argument(help="signed PDF")],
    signature: Annotated[str, typer.Option(help="id of the signature that it belongs to")],
    output: Annotated[Path | None, typer.Option("-o", "--output")] = None,
    url: Url = None,
    token: Token = None,
    use_sandbox: UseSandbox = False,
    as_json: Json = False,
    force: Annotated[bool, typer.Option("--force", help="replace an existing output")] = False,
    password: Password = None,
) -> None:
    """Add fresh evidence and a new document timestamp."""
    target = output or file.with_name(f"{file.stem}.extended.pdf")
    with _service(url, token, use_sandbox=use_sandbox) as client:

        def one(source: Path) -> dict[str, Any]:
            client.run(
                extend(source, target, signature_id=signature, password=password, overwrite=force)
            )
            return {"file": str(source), "output": str(target)}

        _each([file], one, lambda made: print(f"{made['output']}: extended"), as_json=as_json)


@app.command()
def inspect(files: Files, as_json: Json = False, password: Password = None) -> None:
    """Show what a file is, as far as signing cares."""

    def one(source: Path) -> dict[str, Any]:
        found = dataclasses.asdict(pdf.inspect(source, password))
        for signature in found["signatures"]:
            signature["contents"] = len(signature["contents"])
        return {"file": str(source), **found}

    _each(files, one, _say_inspected, as_json=as_json)


@sandbox_app.command("trust-anchor")
def trust_anchor_command() -> None:
    """Print the sandbox's root certificate as PEM."""
    known = sandbox.known_trust_anchor()
    if known is None:
        with sandbox.running() as opened:
            known = opened.trust_anchor
    sys.stdout.write(known.decode())


@contextmanager
def _service(url: str | None, token: str | None, *, use_sandbox: bool) -> Iterator[Client]:
    if use_sandbox:
        if url:
            raise ConfigurationInvalid("say either --url or --sandbox", field="url")
        with sandbox.running() as opened:
            yield opened.client
        return
    if not url or not token:
        raise ConfigurationInvalid("say --url and --token of the service, or --sandbox")
    with Client(url, token) as client:
        yield client


def _targets(files: list[Path], output: Path | None) -> dict[Path, Path]:
    if output is None:
        return {file: file.with_name(f"{file.stem}.signed.pdf") for file in files}
    if output.is_dir() or len(files) > 1:
        output.mkdir(parents=True, exist_ok=True)
        targets = {file: output / f"{file.stem}.signed.pdf" for file in files}
        if len(set(targets.values())) < len(targets):
            raise ConfigurationInvalid("two inputs have the same name; sign them one by one")
        return targets
    return {files[0]: output}


def _anchors(paths: list[Path] | None) -> list[bytes]:
    if not paths:
        known = sandbox.known_trust_anchor()
        return [known] if known else []
    try:
        return [path.read_bytes() for path in paths]
    except OSError as error:
        raise InputUnreadable(f"{error.filename} cannot be read") from error


def _each(
    files: list[Path],
    work: Callable[[Path], dict[str, Any]],
    say: Callable[[dict[str, Any]], None],
    *,
    as_json: bool,
    jobs: int = 1,
) -> bool:
    """Do the work for each file; every failure is told, and makes the exit code 1."""

    def guarded(source: Path) -> dict[str, Any] | HashsealError:
        try:
            return work(source)
        except HashsealError as error:
            return error

    failed, all_valid = False, True
    hidden = as_json or len(files) == 1 or not _err.is_terminal
    with Progress(console=_err, transient=True, disable=hidden) as progress:
        task = progress.add_task("files", total=len(files))
        with ThreadPoolExecutor(jobs) as pool:
            for source, outcome in zip(files, pool.map(guarded, files), strict=True):
                progress.advance(task)
                if isinstance(outcome, HashsealError):
                    failed = True
                    _complain(source, outcome, as_json=as_json)
                    continue
                all_valid = all_valid and outcome.get("verdict", "valid") == "valid"
                if as_json:
                    print(json.dumps(outcome, default=str))
                else:
                    say(outcome)
    if failed:
        raise typer.Exit(1)
    return all_valid


def _complain(source: Path | None, error: HashsealError, *, as_json: bool) -> None:
    row = problem_of(error)
    if as_json:
        shown = {"code": row.code, "detail": error.detail, "action": row.action}
        print(json.dumps({"file": str(source), **shown} if source else shown))
        return
    place = f"{source}: " if source else ""
    _err.print(f"error: {place}{error.detail} ({row.code})", markup=False, highlight=False)
    _err.print(f"       {row.action}", markup=False, highlight=False)


def _signed(result: SigningResult) -> dict[str, Any]:
    stamp, material = result.timestamp, result.validation
    return {
        "file": str(result.source),
        "output": str(result.output),
        "level": result.level.value,
        "hash": result.digest.value.hex(),
        "hash_algorithm": result.digest.algorithm.value,
        "octets_sent": result.octets_sent,
        "seal": result.seal_id,
        "subject": result.subject,
        "signature": result.signature_id,
        "timestamp": {"time": str(stamp.time), "serial": stamp.serial} if stamp else None,
        "validation": {
            "certificates": len(material.certificates),
            "ocsp_responses": len(material.ocsp_responses),
            "crls": len(material.crls),
            "valid_until": str(material.valid_until),
        }
        if material
        else None,
        "charged": result.charged,
        "balance": {"free": result.balance.free, "paid": result.balance.paid},
    }


def _say_signed(made: dict[str, Any]) -> None:
    print(f"{made['output']}: signed, {made['level']}")
    print(f"  sent      {made['hash_algorithm']} {made['hash']} ({made['octets_sent']} octets)")
    print(f"  signer    {made['subject']}")
    if made["timestamp"]:
        print(f"  timestamp {made['timestamp']['time']}, serial {made['timestamp']['serial']}")
    if found := made["validation"]:
        print(
            f"  evidence  {found['certificates']} certificates, {found['ocsp_responses']} OCSP "
            f"responses, {found['crls']} CRLs"
        )
    print(f"  charged   {made['charged']} call, signature {made['signature']}")


def _say_report(found: dict[str, Any]) -> None:
    print(f"{found['file']}: {found['verdict'].upper()}")
    print(f"  {found['words']}")
    for one in found["signatures"]:
        mark = "✓" if one["integrity"] and one["trusted"] else "✗"
        print(f"  {mark} {one['field']} ({one['kind']}, {one['level']}): {one['signer']}")
        print(
            f"      time {one['time']} ({one['time_source']}), trust anchor {one['trust_anchor']}"
        )
        print(f"      after it: {one['changes']}; revocation: {one['revocation']}")
    if found.get("next_level"):
        print(f"  next: {found['next_level']}")


def _say_inspected(found: dict[str, Any]) -> None:
    width = min(shutil.get_terminal_size().columns, 100)
    for name, value in found.items():
        if name == "signatures":
            continue
        print(f"{name:24} {value}"[:width])
    for one in found["signatures"]:
        print(f"{one['kind']:24} {one['field_name']} {one['subfilter']} {one['byte_range']}")


if __name__ == "__main__":
    os.environ.setdefault("COLUMNS", "100")
    main()
