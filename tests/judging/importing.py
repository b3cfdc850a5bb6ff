"""Seals of another authority's certificates, made as an operator makes them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from public_authority import PublicAuthority
from sqlalchemy import update

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.pki.foreign_tables import foreign_status
from hashseal_server.pki.model import RequestedSubject

SUBJECT = RequestedSubject("Test Seal", "Test Organisation", "NTRCH-1", "CH")


async def requested(api, folder: Path, algorithm=KeyAlgorithm.P256, *, pss=False, account=None):
    """A request, and its PEM file as the operator sends it."""
    made = await api.operator.importing().request(
        account or api.account, SUBJECT, kind="official", algorithm=algorithm, pss=pss
    )
    path = folder / f"{made.id}.csr"
    path.write_bytes(x509.load_der_x509_csr(made.der).public_bytes(Encoding.PEM))
    return made, path


async def brought(api, request_id: str, *paths: Path, confirmed: bool = True):
    service = api.operator.importing()
    checked = await service.examine(request_id, [path.read_bytes() for path in paths])
    return await service.bring(request_id, checked, confirmed=confirmed)


async def seal_of(api, authority: PublicAuthority, folder: Path, **options):
    """A usable seal, and the certificate that the authority issued for it."""
    account = options.get("account")
    issued = {
        name: options[name] for name in ("serial", "addresses", "days", "label") if name in options
    }
    made, path = await requested(
        api, folder, options.get("algorithm", KeyAlgorithm.P256), account=account
    )
    certificate = await asyncio.to_thread(authority.sign, path, **issued)
    done = await brought(
        api,
        made.id,
        certificate,
        *authority.chain,
        confirmed=options.get("confirmed", True),
    )
    return done.seal, certificate


def code_of(answer) -> str:
    return answer.json().get("code", str(answer.status_code))


async def age(api, **columns) -> None:
    """What was kept ends, or is due, at other times."""
    async with api.operator.database.write() as connection:
        await connection.execute(update(foreign_status).values(**columns))


async def renewed(foreign) -> None:
    """All pieces of one run of the job."""
    ended = await foreign.renew(None)
    while ended is not None:
        ended = await foreign.renew(ended)
