"""The command `hashseal`: sign, prepare, resume, verify, extend, inspect, sandbox.

The exit code is 0 only if all went well.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from hashseal import console, pdf, validation
from hashseal.client.extending import Extension, extend
from hashseal.client.http import Client
from hashseal.client.signing import PreparedSigning, SigningResult, prepare, resume, sign
from hashseal.client.visible import Visibility, seen
from hashseal.folders import sandbox_anchor
from hashseal.output import targets, write_new
from hashseal.pdf.placement import HELP
from hashseal_core import protocol
from hashseal_core.algorithms import Level
from hashseal_core.errors import ConfigurationInvalid, HashsealError, InputUnreadable, Internal
from hashseal_core.evidence import ValidationMaterial

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Sign PDF documents by their hash; verify.",
)
sandbox_app = typer.Typer(no_args_is_help=True, help="The whole service in this process.")
app.add_typer(sandbox_app, name="sandbox")

Files = Annotated[list[Path], typer.Argument(help="PDF files")]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="file, or folder for several files")
]
LevelOption = Annotated[Level, typer.Option(help="conformance level")]
SealOption = Annotated[str | None, typer.Option(help="SealID; default: the account's only one")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object per file")]
Url = Annotated[str | None, typer.Option(envvar="HASHSEAL_URL", help="the service's address")]
Token = Annotated[str | None, typer.Option(envvar="HASHSEAL_TOKEN", help="API token")]
UseSandbox = Annotated[bool, typer.Option("--sandbox", help="sign in this process, for tests")]
Jobs = Annotated[int, typer.Option(min=1, max=32, help="files at the same time")]
Force = Annotated[bool, typer.Option("--force", help="replace existing outputs")]
Password = Annotated[
    str | None, typer.Option(envvar="HASHSEAL_PASSWORD", help="password of an encrypted file")
]
Appearance = Annotated[
    Visibility | None,
    typer.Option(help="what is seen of the signature; default: none, or the seal with --seal-at"),
]
SealAt = Annotated[str | None, typer.Option(help=f"where the seal stands: {HELP}")]
Reason = Annotated[str | None, typer.Option(help="why it is signed; written into the signature")]
Location = Annotated[str | None, typer.Option(help="where it is signed; likewise")]
Anchor = Annotated[
    list[Path] | None,
    typer.Option("--trust-anchor", help="PEM file of a trusted root; default: the sandbox's"),
]


def main() -> None:
    """Entry point; errors are one line, never a traceback."""
    try:
        app()
    except HashsealError as error:
        console.complain(None, error, as_json="--json" in sys.argv)
        sys.exit(1)
    except OSError as error:
        console.complain_of_system(error)
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - a fault of this program is one line too
        fault = Internal(f"{type(error).__name__} in hashseal; please report it")
        console.complain(None, fault, as_json="--json" in sys.argv)
        sys.exit(1)


@app.command("sign")
def sign_command(
    files: Files,
    output: Output = None,
    level: LevelOption = Level.B_LT,
    seal: SealOption = None,
    url: Url = None,
    token: Token = None,
    use_sandbox: UseSandbox = False,
    as_json: Json = False,
    jobs: Jobs = 1,
    force: Force = False,
    password: Password = None,
    appearance: Appearance = None,
    seal_at: SealAt = None,
    reason: Reason = None,
    location: Location = None,
) -> None:
    """Sign files; only hashes leave this machine."""
    places = targets(files, output, ".signed.pdf")
    visible = seen(appearance, seal_at)
    options = pdf.SignatureOptions(
        contents_size=1, password=password, reason=reason, location=location
    )
    with _service(url, token, use_sandbox=use_sandbox) as client:

        def one(source: Path) -> dict[str, Any]:
            workflow = sign(
                source,
                places[source],
                seal_id=seal,
                level=level,
                options=options,
                overwrite=force,
                visible=visible,
            )
            made = _signed(client.run(workflow))
            return {**made, "findings": _findings(source, password)}

        told = console.each(files, one, console.say_signed, as_json=as_json, jobs=jobs)
    _end(all_well=None not in told)


@app.command("prepare")
def prepare_command(
    files: Files,
    output: Output = None,
    level: LevelOption = Level.B_LT,
    seal: SealOption = None,
    url: Url = None,
    token: Token = None,
    use_sandbox: UseSandbox = False,
    as_json: Json = False,
    force: Force = False,
    password: Password = None,
    appearance: Appearance = None,
    seal_at: SealAt = None,
    reason: Reason = None,
    location: Location = None,
) -> None:
    """Prepare files whose hash will be signed later, or elsewhere."""
    places = targets(files, output, ".prepared.pdf")
    visible = seen(appearance, seal_at)
    options = pdf.SignatureOptions(
        contents_size=1, password=password, reason=reason, location=location
    )
    with _service(url, token, use_sandbox=use_sandbox) as client:

        def one(source: Path) -> dict[str, Any]:
            target = places[source]
            state = target.with_suffix(".json")
            if force:
                state.unlink(missing_ok=True)
            workflow = prepare(
                source,
                target,
                seal_id=seal,
                level=level,
                options=options,
                overwrite=force,
                visible=visible,
            )
            signing = client.run(workflow)
            try:
                write_new(state, signing.to_json())
            except HashsealError:
                target.unlink(missing_ok=True)
                raise
            digest = signing.prepared.digest
            return {
                "file": str(source),
                "output": str(target),
                "state": str(state),
                "hash_algorithm": digest.algorithm.value,
                "hash": digest.value.hex(),
                "request": msgspec.to_builtins(signing.request),
                "idempotency_key": signing.idempotency_key,
                "covered_fields": list(signing.prepared.covered_fields),
                "findings": _findings(source, password),
            }

        told = console.each(files, one, console.say_prepared, as_json=as_json)
    _end(all_well=None not in told)


@app.command("resume")
def resume_command(
    state: Annotated[Path, typer.Argument(help="what `prepare` wrote beside the prepared file")],
    answer: Annotated[
        Path | None,
        typer.Option(help="answer of POST /v1/documents/sign, got elsewhere; default: call now"),
    ] = None,
    output: Output = None,
    url: Url = None,
    token: Token = None,
    use_sandbox: UseSandbox = False,
    as_json: Json = False,
    force: Force = False,
    password: Password = None,
) -> None:
    """Finish a prepared file, with an answer at hand or by the call."""
    signing = PreparedSigning.from_json(_text(state))
    given = _answer(answer) if answer else None
    prepared = state.with_suffix(".pdf")
    name = prepared.name.removesuffix(".prepared.pdf").removesuffix(".pdf")
    target = output or prepared.with_name(f"{name}.signed.pdf")
    offline = given is not None and signing.level is not Level.B_LTA
    with _service(url, token, use_sandbox=use_sandbox, offline=offline) as client:

        def one(source: Path) -> dict[str, Any]:
            workflow = resume(
                source, target, signing, answer=given, password=password, overwrite=force
            )
            return _signed(client.run(workflow))

        told = console.each([prepared], one, console.say_signed, as_json=as_json)
    _end(all_well=None not in told)


@app.command()
def verify(
    files: Files,
    trust_anchor: Anchor = None,
    as_json: Json = False,
    jobs: Jobs = 1,
    password: Password = None,
    at: Annotated[
        datetime | None, typer.Option(help="judge as of this time (UTC); default: now")
    ] = None,
) -> None:
    """Say whether files are what was signed; offline."""
    anchors = _anchors(trust_anchor)
    moment = at.replace(tzinfo=UTC) if at else None

    def one(source: Path) -> dict[str, Any]:
        report = validation.validate(source, anchors, password=password, at=moment)
        shown: dict[str, Any] = msgspec.to_builtins(report)
        return {"file": str(source), **shown}

    told = console.each(files, one, console.say_report, as_json=as_json, jobs=jobs)
    _end(all_well=all(found is not None and found["verdict"] == "valid" for found in told))


@app.command("extend")
def extend_command(
    files: Files,
    output: Output = None,
    url: Url = None,
    token: Token = None,
    use_sandbox: UseSandbox = False,
    as_json: Json = False,
    force: Force = False,
    password: Password = None,
) -> None:
    """Add fresh evidence and a new document timestamp to signed files; repeat it every year."""
    places = targets(files, output, ".extended.pdf")
    with _service(url, token, use_sandbox=use_sandbox) as client:

        def one(source: Path) -> dict[str, Any]:
            workflow = extend(source, places[source], password=password, overwrite=force)
            return _extended(client.run(workflow))

        told = console.each(files, one, console.say_extended, as_json=as_json)
    _end(all_well=None not in told)


@app.command()
def inspect(files: Files, as_json: Json = False, jobs: Jobs = 1, password: Password = None) -> None:
    """Show what a file is, as far as signing cares, and what a signature would not cover."""

    def one(source: Path) -> dict[str, Any]:
        found = dataclasses.asdict(pdf.inspect(source, password))
        for signature in found["signatures"]:
            signature["contents"] = len(signature["contents"])
        return {"file": str(source), **found, "findings": _findings(source, password)}

    told = console.each(files, one, console.say_inspected, as_json=as_json, jobs=jobs)
    _end(all_well=None not in told)


@sandbox_app.command("trust-anchor")
def trust_anchor_command() -> None:
    """Print the sandbox's root certificate as PEM."""
    anchor = sandbox_anchor()
    if not anchor.is_file():
        with _sandbox().running():
            pass
    sys.stdout.write(anchor.read_text())


def _end(*, all_well: bool) -> None:
    if not all_well:
        raise typer.Exit(1)


def _sandbox() -> Any:
    """The service in this process: an extra that need not be installed, and slow to import."""
    try:
        return importlib.import_module("hashseal.sandbox")
    except ModuleNotFoundError as error:
        raise ConfigurationInvalid("the sandbox needs: pip install 'hashseal[sandbox]'") from error


@contextmanager
def _service(
    url: str | None, token: str | None, *, use_sandbox: bool, offline: bool = False
) -> Iterator[Client]:
    if use_sandbox:
        if url:
            raise ConfigurationInvalid("say either --url or --sandbox", field="url")
        with _sandbox().running() as opened:
            yield opened.client
        return
    if not offline and (not url or not token):
        raise ConfigurationInvalid("say --url and --token of the service, or --sandbox")
    with Client(url or "", token or "") as client:
        yield client


def _anchors(paths: list[Path] | None) -> list[bytes]:
    if paths:
        return [_text(path).encode() for path in paths]
    anchor = sandbox_anchor()
    return [anchor.read_bytes()] if anchor.is_file() else []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputUnreadable(f"{path} cannot be read") from error


def _answer(path: Path) -> protocol.SignedDocuments:
    try:
        return msgspec.json.decode(_text(path), type=protocol.SignedDocuments)
    except msgspec.DecodeError as error:
        raise InputUnreadable(f"{path} is not an answer of /v1/documents/sign") from error


def _findings(source: Path, password: str | None) -> list[dict[str, Any]] | None:
    """What preflight finds in a file that was read already; None if it cannot search it.

    Last of all, so that what is wrong with the file is said by the command itself. It is advice:
    whatever it runs into, a signature that was made, and charged, is told.
    """
    try:
        found = pdf.preflight(source, password)
    except (HashsealError, MemoryError, RecursionError):
        return None
    return [dataclasses.asdict(one) for one in found]


def _signed(result: SigningResult) -> dict[str, Any]:
    stamp, material = result.timestamp, result.validation
    found = None
    if material is not None:
        found = {
            "certificates": len(material.certificates),
            "ocsp_responses": len(material.ocsp_responses),
            "crls": len(material.crls),
            "valid_until": str(material.valid_until),
        }
    return {
        "file": str(result.source),
        "output": str(result.output),
        "level": result.level.value,
        "field": result.field_name,
        "hash": result.digest.value.hex(),
        "hash_algorithm": result.digest.algorithm.value,
        "octets_sent": result.octets_sent,
        "seal": result.seal_id,
        "subject": result.subject,
        "call": result.call_id,
        "signature": result.signature_id,
        "timestamp": {"time": str(stamp.time), "serial": stamp.serial} if stamp else None,
        "validation": found,
        "covered_fields": list(result.covered_fields),
        "charged": result.charged,
        "balance": {"free": result.balance.free, "paid": result.balance.paid},
    }


def _extended(result: Extension) -> dict[str, Any]:
    added: ValidationMaterial = result.material
    return {
        "file": str(result.source),
        "output": str(result.output),
        "signatures": result.signatures,
        "timestamp": {"time": str(result.timestamp_at), "serial": result.timestamp_serial},
        "added": {
            "certificates": len(added.certificates),
            "ocsp_responses": len(added.ocsp_responses),
            "crls": len(added.crls),
        },
        "without_evidence": result.without_evidence,
        "octets_sent": result.octets_sent,
    }


if __name__ == "__main__":
    main()
