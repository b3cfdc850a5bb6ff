"""Certificates of other authorities: request, import, confirm."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from rich.console import Console

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import InputUnreadable, OutputRefused
from hashseal_server.cli.shell import AccountOption, Json, show, with_operator
from hashseal_server.main import Operator, now
from hashseal_server.pki.imported import MAX_OCTETS, Checked
from hashseal_server.pki.model import LegalPerson, RequestedSubject
from hashseal_server.remote_signing import raw_credentials
from hashseal_server.seals.importing import SOFTWARE, Brought
from hashseal_server.seals.model import Request

credential_app = typer.Typer(
    no_args_is_help=True, help="Keys here, certificates of other authorities."
)
_err = Console(stderr=True)
Kind = Annotated[str, typer.Option(help="kind of seal")]
Pss = Annotated[bool, typer.Option("--pss", help="RSA-PSS")]
Confirm = Annotated[
    bool,
    typer.Option("--confirm-addresses", help="the addresses of revocation data may be called"),
]
_LONGEST_PASSWORD = 1024
_RAW = (
    "whoever has a token of this account can have any digest signed with this key, also that of "
    "something which looks like a document signature; relying parties must not take it for one"
)


@credential_app.command("csr")
def credential_csr(
    account: AccountOption,
    name: Annotated[str, typer.Option(help="common name")],
    organisation: Annotated[str, typer.Option(help="organisation")],
    out: Annotated[Path, typer.Option(help="file for the request (PEM)")],
    organisation_identifier: Annotated[str, typer.Option(help="like NTRCH-CHE123456789")] = "",
    country: Annotated[str, typer.Option(help="two capital letters")] = "",
    kind: Kind = "official",
    algorithm: Annotated[KeyAlgorithm, typer.Option(help="key")] = KeyAlgorithm.P256,
    pss: Pss = False,
    as_json: Json = False,
) -> None:
    """Make a key in the key store and a request for a certificate for it."""
    subject = RequestedSubject(name, organisation, organisation_identifier, country)
    _require_new(out)

    async def work(opened: Operator) -> dict[str, Any]:
        owner = await opened.account_store.find(account)
        made = await opened.importing().request(
            owner.id, subject, kind=kind, algorithm=algorithm, pss=pss
        )
        warnings = [SOFTWARE] if opened.settings.keystore == "software" else []
        if algorithm is KeyAlgorithm.RSA2048:
            warnings.append("RSA-2048 is used until the end of 2027 only (TS 119 312)")
        return {**_described(made), "file": _write(out, made), "warnings": warnings}

    _tell(with_operator(work), as_json=as_json)


@credential_app.command("create-raw")
def credential_create_raw(
    account: AccountOption,
    name: Annotated[str, typer.Option(help="common name in the certificate")],
    organisation: Annotated[str, typer.Option(help="organisation in the certificate")],
    organisation_identifier: Annotated[str, typer.Option(help="like NTRCH-CHE123456789")],
    country: Annotated[str, typer.Option(help="two capital letters")],
    algorithm: Annotated[KeyAlgorithm, typer.Option(help="key")] = KeyAlgorithm.P256,
    as_json: Json = False,
) -> None:
    """Make a credential that signs any digest that the account sends; needs `raw_signing`."""
    subject = LegalPerson(name, organisation, organisation_identifier, country)

    async def work(opened: Operator) -> dict[str, Any]:
        owner = await opened.account_store.find(account)
        made = await raw_credentials(opened, now).create(owner.id, subject, algorithm=algorithm)
        return {
            "id": made.id,
            "subject": made.subject,
            "serial": format(made.serial, "x"),
            "valid_until": made.not_after,
            "warnings": [_RAW],
        }

    _tell(with_operator(work), as_json=as_json)


@credential_app.command("list-raw")
def credential_list_raw(account: AccountOption, as_json: Json = False) -> None:
    """List an account's raw credentials; `pki revoke` with the serial number stops one."""

    async def work(opened: Operator) -> list[dict[str, Any]]:
        owner = await opened.account_store.find(account)
        return [
            {
                "id": one.id,
                "subject": one.subject,
                "status": one.status(now()),
                "serial": format(one.serial, "x"),
                "valid_until": one.not_after,
            }
            for one in await raw_credentials(opened, now).all(owner.id)
        ]

    for row in with_operator(work):
        shown = f"{row['id']}  {row['status']:8} {row['serial']}  {row['subject']}"
        print(json.dumps(row, default=str) if as_json else shown)


@credential_app.command("export")
def credential_export(
    request_id: str,
    out: Annotated[Path, typer.Option(help="file for the request (PEM)")],
    as_json: Json = False,
) -> None:
    """Write a request again that was made before."""
    _require_new(out)

    async def work(opened: Operator) -> dict[str, Any]:
        made = await opened.importing().find(request_id)
        return {**_described(made), "file": _write(out, made)}

    show(with_operator(work), as_json=as_json)


@credential_app.command("list")
def credential_list(as_json: Json = False) -> None:
    """List the requests, and the seals that came of them."""

    async def work(opened: Operator) -> list[dict[str, Any]]:
        return [_described(one) for one in await opened.importing().requests()]

    for row in with_operator(work):
        if as_json:
            print(json.dumps(row, default=str))
        else:
            state = f"seal {row['seal']}" if row["seal"] else "waits for its certificate"
            print(f"{row['request']}  {row['algorithm']:9} {row['subject']}  {state}")


@credential_app.command("import")
def credential_import(
    request_id: str,
    certificate: Annotated[
        list[Path],
        typer.Option(
            help="certificates up to the root (PEM or DER), in any order; may be repeated"
        ),
    ],
    confirm_addresses: Confirm = False,
    as_json: Json = False,
) -> None:
    """Check the certificate and the chain that came back for a request, and make a seal of them."""
    files = [_read(path, MAX_OCTETS) for path in certificate]

    async def work(opened: Operator) -> dict[str, Any]:
        service = opened.importing()
        checked = await service.examine(request_id, files)
        confirmed = confirm_addresses or _asked(checked, as_json=as_json)
        brought = await service.bring(request_id, checked, confirmed=confirmed)
        return await _outcome(opened, brought)

    _tell(with_operator(work), as_json=as_json)


@credential_app.command("import-pkcs12")
def credential_import_pkcs12(
    file: Path,
    account: AccountOption,
    password_file: Annotated[Path, typer.Option(help="file with the password")],
    certificate: Annotated[
        list[Path] | None, typer.Option(help="certificates that the file lacks; may be repeated")
    ] = None,
    kind: Kind = "official",
    pss: Pss = False,
    confirm_addresses: Confirm = False,
    as_json: Json = False,
) -> None:
    """Take a key that was made elsewhere into the software key store; not for keys in a token."""
    password = _read(password_file, _LONGEST_PASSWORD).strip(b"\r\n")
    content = _read(file, MAX_OCTETS)
    more = [_read(path, MAX_OCTETS) for path in certificate or ()]

    async def work(opened: Operator) -> dict[str, Any]:
        owner = await opened.account_store.find(account)
        brought = await opened.importing().bring_pkcs12(
            owner.id, content, password, more, kind=kind, pss=pss, confirmed=confirm_addresses
        )
        return await _outcome(opened, brought)

    _tell(with_operator(work), as_json=as_json)


@credential_app.command("confirm")
def credential_confirm(seal_id: str, account: AccountOption, as_json: Json = False) -> None:
    """Allow the addresses of revocation data in a seal's chain to be called, and ask them."""

    async def work(opened: Operator) -> dict[str, Any]:
        owner = await opened.account_store.find(account)
        brought = await opened.importing().confirm(owner.id, seal_id)
        return await _outcome(opened, brought)

    _tell(with_operator(work), as_json=as_json)


def _asked(checked: Checked, *, as_json: bool) -> bool:
    """Whether the operator, if one sits there, confirms the addresses in the chain."""
    addresses = list(dict.fromkeys(url for one in checked.addresses for url in one))
    if as_json or not addresses or not sys.stdin.isatty():
        return False
    _err.print("Revocation data of this chain is at", highlight=False)
    for url in addresses:
        _err.print(f"  {url}", markup=False, highlight=False)
    return typer.confirm("May the service call these addresses?", err=True)


async def _outcome(opened: Operator, brought: Brought) -> dict[str, Any]:
    seal = brought.seal
    root = x509.load_der_x509_certificate(seal.chain[-1])
    warnings = list(brought.warnings)
    status_data = "good" if brought.reached else "none yet" if brought.complete else "incomplete"
    described = (await opened.seals()).describe(seal)
    if not brought.confirmed and brought.complete:
        warnings.append(
            "no revocation data is fetched, so no B-LT, until its addresses are confirmed: "
            f"hashseal-server credential confirm {seal.id} --account {seal.account_id}"
        )
    return {
        "id": seal.id,
        "subject": seal.subject,
        "root": root.subject.rfc4514_string(),
        "root_sha256": root.fingerprint(hashes.SHA256()).hex(),
        "signature_size": described.signature_size,
        "valid_until": described.valid_until,
        "levels": described.levels,
        "addresses": list(brought.addresses),
        "confirmed": brought.confirmed,
        "status_data": status_data,
        "warnings": warnings,
    }


def _tell(values: dict[str, Any], *, as_json: bool) -> None:
    """Print values; warnings go to stderr, too."""
    for one in values["warnings"]:
        _err.print(f"warning: {one}", markup=False, highlight=False, soft_wrap=True)
    if not as_json:
        values = {name: _plain(value) for name, value in values.items() if name != "warnings"}
    show(values, as_json=as_json)


def _plain(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _described(request: Request) -> dict[str, Any]:
    return {
        "request": request.id,
        "account": request.account_id,
        "subject": request.subject,
        "algorithm": request.key_algorithm.value,
        "made_at": request.made_at,
        "seal": request.seal_id,
    }


def _require_new(out: Path) -> None:
    """Before a key is made, since a request that cannot be written helps nobody.

    Raises:
        OutputRefused: it exists, or its folder does not.
    """
    if out.exists() or not out.parent.is_dir():
        raise OutputRefused(f"{out} exists, or its folder does not", field="out")


def _write(out: Path, request: Request) -> Path:
    try:
        loaded = x509.load_der_x509_csr(request.der)
        with out.open("xb") as file:
            file.write(loaded.public_bytes(Encoding.PEM))
    except OSError as error:
        raise OutputRefused(
            f"{out} cannot be written: {error.strerror}; the request is kept: "
            f"hashseal-server credential export {request.id} --out FILE",
            field="out",
        ) from error
    return out


def _read(path: Path, largest: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError as error:
        raise InputUnreadable(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > largest:
        raise InputUnreadable(f"{path} is larger than {largest // 1024} KiB")
    return content
