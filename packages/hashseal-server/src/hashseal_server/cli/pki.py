"""The certificate authority: revocation, renewal, and an offline root."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hashseal_core.errors import HashsealError, InputUnreadable, InvalidValue, OutputRefused
from hashseal_server.ceremony import ceremony
from hashseal_server.cli.shell import InvalidSince, Json, read_moment, show, with_operator
from hashseal_server.keystore.folder import read_secret
from hashseal_server.main import Operator, now
from hashseal_server.pki.ceremony import as_der
from hashseal_server.pki.fingerprint import sha256_of, words_of
from hashseal_server.settings import Settings, load

pki_app = typer.Typer(no_args_is_help=True, help="The certificate authority.")
_MAX_FILE = 10 * 2**20
_SERIAL = "serial number, hexadecimal"
Reason = Annotated[str, typer.Option(help="as in RFC 5280, 5.3.1")]


@pki_app.command("list")
def pki_list(as_json: Json = False) -> None:
    """List authorities, responders, units and lists in use, and how long each lasts."""

    async def work(opened: Operator) -> list[dict[str, Any]]:
        return [
            {"what": what, "until": at, "days_left": (at - now()).days}
            for what, at in await opened.authority.ends()
        ]

    for row in with_operator(work):
        if as_json:
            print(json.dumps(row, default=str))
        else:
            print(f"{row['what']:<24} {row['days_left']:>6} days left")


@pki_app.command("revoke")
def pki_revoke(
    serial: Annotated[str, typer.Argument(help=_SERIAL)],
    reason: Reason,
    invalid_since: InvalidSince = None,
    as_json: Json = False,
) -> None:
    """Revoke any certificate for good: a seal's, a unit's, a responder's, an authority's."""
    number = _serial(serial)
    since = read_moment(invalid_since, "invalid_since")

    async def work(opened: Operator) -> dict[str, Any]:
        found = await opened.revoke(number, reason, invalid_since=since)
        return {"serial": serial, "role": found.role.value, "reason": reason, "revoked": True}

    show(with_operator(work), as_json=as_json)


@pki_app.command("publish")
def pki_publish(
    label: Annotated[str, typer.Argument(help="authority, like `issuing`")],
    above: Annotated[
        int,
        typer.Option(min=0, help="number of the newest list that somebody has, after a restore"),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Publish a new revocation list now; its number is larger than that of each before."""

    async def work(opened: Operator) -> dict[str, Any]:
        read = x509.load_der_x509_crl(await opened.authority.publish(label, above=above))
        number = read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        return {"authority": label, "number": number, "next_update": read.next_update_utc}

    show(with_operator(work), as_json=as_json)


@pki_app.command("renew-issuing")
def pki_renew_issuing(as_json: Json = False) -> None:
    """Make the next issuing authority with the root's key; new certificates come from it."""

    async def work(opened: Operator) -> dict[str, Any]:
        made = await opened.authority.renew_issuing()
        return {"authority": made.label, "valid_until": made.not_after}

    show(with_operator(work), as_json=as_json)


@pki_app.command("request-issuing")
def pki_request_issuing(
    out: Annotated[Path, typer.Option(help="file for the request, PEM")], as_json: Json = False
) -> None:
    """Make a key for the next issuing authority and a request to take to a ceremony."""

    async def work(opened: Operator) -> dict[str, Any]:
        settings = opened.settings
        encoded = await opened.installation().request(
            test=settings.test, organisation=settings.organisation, country=settings.country
        )
        request = x509.load_der_x509_csr(encoded)
        _write(out, request.public_bytes(Encoding.PEM))
        return {
            "request": out,
            "subject": request.subject.rfc4514_string(),
            "sha256": sha256_of(encoded),
            "fingerprint": words_of(encoded),
        }

    show(with_operator(work), as_json=as_json)


@pki_app.command("install-issuing")
def pki_install_issuing(
    root: Annotated[Path, typer.Option(help="the root's certificate")],
    certificate: Annotated[Path, typer.Option(help="what the ceremony made of the request")],
    crl: Annotated[Path, typer.Option(help="the root's revocation list")],
    as_json: Json = False,
) -> None:
    """Check what a ceremony made, and put it into use."""
    files = [_read(path) for path in (root, certificate, crl)]

    async def work(opened: Operator) -> dict[str, Any]:
        made = await opened.installation().install(*files)
        await opened.initialise()
        path = opened.settings.data_dir / "trust-anchor.pem"
        _write(path, x509.load_der_x509_certificate(files[0]).public_bytes(Encoding.PEM))
        return {
            "authority": made.label,
            "valid_until": made.not_after,
            "trust_anchor": path,
            "root_fingerprint": words_of(files[0]),
        }

    show(with_operator(work), as_json=as_json)


@pki_app.command("install-list")
def pki_install_list(
    crl: Annotated[Path, typer.Argument(help="the root's new revocation list")],
    as_json: Json = False,
) -> None:
    """Publish a list that a ceremony made; what it revokes is revoked."""
    octets = _read(crl)

    async def work(opened: Operator) -> dict[str, Any]:
        number = await opened.installation().install_list(octets)
        until = x509.load_der_x509_crl(octets).next_update_utc
        return {"authority": "root", "number": number, "next_update": until}

    show(with_operator(work), as_json=as_json)


@pki_app.command("ceremony")
def pki_ceremony(
    folder: Annotated[Path, typer.Option(help="the root's keys and books, on a medium of its own")],
    out: Annotated[Path, typer.Option(help="new folder for the results and the record")],
    present: Annotated[
        list[str] | None, typer.Option(help="who is there, with the part they play; repeated")
    ] = None,
    request: Annotated[Path | None, typer.Option(help="request to certify")] = None,
    fingerprint: Annotated[
        str | None, typer.Option(help="of the request, as `request-issuing` printed it")
    ] = None,
    revoke: Annotated[str | None, typer.Option(help=_SERIAL + ", to revoke")] = None,
    reason: Reason = "cessationOfOperation",
    list_days: Annotated[int, typer.Option(help="how long the root's list lives")] = 365,
    passphrase_file: Annotated[Path | None, typer.Option(help="passphrase of the keys")] = None,
    as_json: Json = False,
) -> None:
    """Use the root's key, offline: make the root, certify a request, revoke, make the list.

    What is not given is asked for. Ends with a record to print and sign.
    """
    settings = load()
    people = present or _asked_people()
    number = None if revoke is None else _serial(revoke)
    octets = None if request is None else _read(request)
    said = fingerprint
    if octets is not None and said is None:
        said = _asked("Fingerprint of the request, as it was printed online")
    word = _passphrase(settings, passphrase_file, new=not (folder / "hashseal.db").exists())
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputRefused(f"{out} is there already; name a new folder")

    async def work() -> dict[str, Any]:
        async with ceremony(
            settings, folder, people=people, passphrase=word, list_days=list_days
        ) as held:
            try:
                root = await held.root(
                    organisation=settings.organisation, country=settings.country, test=settings.test
                )
                if number is not None:
                    await held.revoke(number, reason)
                if octets is not None:
                    await held.certify(octets, said or "")
                await held.publish()
            except HashsealError as error:
                for name, content in held.abort(error.detail).items():
                    _write(out / name, content)
                raise
            files = held.end()
        for name, content in files.items():
            _write(out / name, content)
        return {
            "folder": out,
            "files": sorted(files),
            "root": words_of(root.certificate),
            "record_sha256": sha256_of(files["ceremony.txt"]),
        }

    show(asyncio.run(work()), as_json=as_json)


def _asked(question: str) -> str:
    if not sys.stdin.isatty():
        raise InvalidValue("nobody can be asked here; give it as an option", field=question)
    answer: str = typer.prompt(question)
    return answer


def _asked_people() -> list[str]:
    found: list[str] = []
    while one := _asked(f"Present, person {len(found) + 1} (`.` when all are named)").strip(". "):
        found.append(one)
    return found


def _passphrase(settings: Settings, path: Path | None, *, new: bool) -> str | None:
    if settings.keystore == "pkcs11":
        return None
    if path is not None:
        return read_secret(path, "passphrase_file").decode(errors="replace")
    if not sys.stdin.isatty():
        raise InvalidValue("name a file with the passphrase", field="passphrase_file")
    asked: str = typer.prompt("Passphrase of the root", hide_input=True, confirmation_prompt=new)
    return asked


def _serial(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError as error:
        raise InvalidValue("a serial number is hexadecimal", field="serial") from error


def _read(path: Path) -> bytes:
    """A certificate, list or request, DER or PEM, as DER."""
    try:
        with path.open("rb") as file:
            octets = file.read(_MAX_FILE)
    except OSError as error:
        raise InputUnreadable(f"{path} cannot be read") from error
    if not octets.lstrip().startswith(b"-----BEGIN"):
        return octets
    try:
        if b"CERTIFICATE REQUEST" in octets:
            return as_der(octets)
        if b"X509 CRL" in octets:
            return x509.load_pem_x509_crl(octets).public_bytes(Encoding.DER)
        return x509.load_pem_x509_certificate(octets).public_bytes(Encoding.DER)
    except ValueError as error:
        raise InputUnreadable(f"{path} is damaged") from error


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise OutputRefused(f"{path} cannot be written: {error.strerror}") from error
