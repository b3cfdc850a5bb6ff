"""A ceremony on a machine of its own: a folder, a key store, no network and no database server."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from hashseal_core.errors import ConfigurationInvalid, InvalidValue, KeystoreUnavailable
from hashseal_server.keystore.software import SoftwareKeyStore
from hashseal_server.main import now, operator
from hashseal_server.pki.authorities import ROOT
from hashseal_server.pki.ceremony import Ceremony
from hashseal_server.settings import Settings

LEAST_PASSPHRASE = 12
LIST_DAYS = range(7, 401)
_SCRYPT = {"n": 2**17, "r": 8, "p": 1, "maxmem": 2**28, "dklen": 32}


@asynccontextmanager
async def ceremony(
    settings: Settings,
    folder: Path,
    *,
    people: Sequence[str],
    passphrase: str | None,
    list_days: int,
) -> AsyncIterator[Ceremony]:
    """A ceremony with what is in `folder`; its own records are chained and checked at the end.

    With keys in software they are encrypted under the passphrase; with `keystore = "pkcs11"`
    signers of this machine hold the PIN, and there is no passphrase.

    Raises:
        InvalidValue: the passphrase is wrong or short, a list would live too long, or too few
            people are present.
        ConfigurationInvalid: nobody said where the public side is.
        OutputRefused: the folder cannot be written.
    """
    if list_days not in LIST_DAYS:
        raise InvalidValue("a list lives 7 to 400 days", field="list_days")
    if "public_url" not in settings.model_fields_set:
        raise ConfigurationInvalid(
            "set HASHSEAL_PUBLIC_URL to the address of the online side: certificates name it",
            field="public_url",
        )
    alone = settings.model_copy(
        update={"data_dir": folder, "database_url": None, "root": "online", "traces_url": None}
    )
    keys = None if settings.keystore == "pkcs11" else _keys(folder, passphrase or "")
    async with operator(alone, keys=keys, list_lifetime=timedelta(days=list_days)) as opened:
        top = (await opened.authority.authorities.all()).get(ROOT)
        if top is not None:
            try:
                opened.keystore.public_key(top.issued.key)
            except KeystoreUnavailable as error:
                if keys is None:
                    raise
                raise InvalidValue("the passphrase is wrong", field="passphrase") from error
        yield Ceremony(opened.authority, people=people, machine=_machine(), now=now)
        await opened.audit.sequence()


def _keys(folder: Path, passphrase: str) -> SoftwareKeyStore:
    """Keys under a secret that is made from the passphrase and a salt, at great cost."""
    if len(passphrase) < LEAST_PASSPHRASE:
        raise InvalidValue(
            f"a passphrase has {LEAST_PASSPHRASE} characters or more", field="passphrase"
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "salt"
    if not path.exists():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
    made = hashlib.scrypt(passphrase.encode(), salt=path.read_bytes(), **_SCRYPT)
    return SoftwareKeyStore(folder / "root-keys", made.hex().encode())


def _machine() -> dict[str, str]:
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "Python": platform.python_version(),
        "hashseal-server": version("hashseal-server"),
        "cryptography": version("cryptography"),
        "pkilint": version("pkilint"),
    }
