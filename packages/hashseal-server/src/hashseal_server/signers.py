"""One signer process: settings become tokens, rules and a socket. Started by `signer run`.

It holds PINs, so nobody may look into its memory, not even a process of the same user.

python -m hashseal_server.signers [--wrapping-key FILE]
"""

from __future__ import annotations

import ctypes
import resource
import secrets
import signal
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from hashseal_core.errors import ConfigurationInvalid, HashsealError
from hashseal_server.keystore.authorisation import NONCE_OCTETS, Register
from hashseal_server.keystore.folder import SignerFolder, read_pin, read_secret
from hashseal_server.keystore.pkcs11 import Pkcs11KeyStore, TokenAccess, make_wrapping_key
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.reference import machine_of
from hashseal_server.keystore.signer import Signer
from hashseal_server.keystore.signer_server import STUCK_SECONDS, SignerServer
from hashseal_server.settings import Settings, load

_SET_DUMPABLE = 4  # PR_SET_DUMPABLE, prctl(2)
_WRAPPING = "--wrapping-key"


def now() -> datetime:
    """The system clock, UTC."""
    return datetime.now(UTC)


def close_memory() -> None:
    """No core dump, no debugger, no look into /proc for other processes of this user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)


def tokens(settings: Settings) -> list[TokenAccess]:
    """The tokens that this process may log in to: those whose PINs it was given.

    Raises:
        ConfigurationInvalid: a label or a PIN is missing, or two PINs are given for one token.
    """
    found: dict[str, tuple[str, set[Purpose]]] = {}
    for purpose, file in settings.pkcs11_pin_files.items():
        label = settings.pkcs11_tokens.get(purpose)
        if label is None:
            raise ConfigurationInvalid(f"name the token for {purpose}", field="pkcs11_tokens")
        pin = read_pin(file, "pkcs11_pin_files")
        known, purposes = found.setdefault(label, (pin, set()))
        if known != pin:
            raise ConfigurationInvalid(f"two PINs for {label}", field="pkcs11_pin_files")
        purposes.add(Purpose(purpose))
    if not found:
        raise ConfigurationInvalid(
            "a signer needs pkcs11_tokens and pkcs11_pin_files", field="pkcs11_pin_files"
        )
    return [TokenAccess(label, *access) for label, access in _frozen(found).items()]


def _frozen(
    found: dict[str, tuple[str, set[Purpose]]],
) -> dict[str, tuple[str, frozenset[Purpose]]]:
    return {label: (pin, frozenset(purposes)) for label, (pin, purposes) in found.items()}


def signer(settings: Settings, folder: SignerFolder) -> tuple[Signer, Pkcs11KeyStore]:
    """The rules over the tokens of this process.

    Raises:
        ConfigurationInvalid: a setting or a secret file is missing or wrong.
    """
    if settings.pkcs11_module is None:
        raise ConfigurationInvalid("name the PKCS#11 module", field="pkcs11_module")
    keys = Pkcs11KeyStore(
        settings.pkcs11_module,
        tokens(settings),
        neighbours=folder,
        machine=machine_of(socket.gethostname()),
        now=now,
        wrapped=settings.customer_keys == "wrapped",
    )
    boot = secrets.token_bytes(NONCE_OCTETS)
    register = None
    if {Purpose.SEAL, Purpose.RAW} & keys.purposes:
        if settings.authorisation_key_file is None:
            raise ConfigurationInvalid(
                "documents are signed under authorisations only", field="authorisation_key_file"
            )
        secret = read_secret(settings.authorisation_key_file, "authorisation_key_file")
        register = Register(secret, boot)
    return Signer(keys, register, boot=boot, now=now), keys


def serve(settings: Settings) -> None:
    """Serve until SIGTERM; a token that does not answer now is asked again when it is needed.

    Raises:
        ConfigurationInvalid: see `signer`.
    """
    folder = SignerFolder(settings.signers, settings.signer_group)
    folder.prepare()
    rules, keys = signer(settings, folder)
    try:
        signal.alarm(STUCK_SECONDS)  # while it starts, the others wait
        try:
            keys.health()
        except HashsealError as error:
            _say(f"not ready: {error.detail}")
        signal.alarm(0)
        for finding in keys.findings:
            _say(f"not used: {finding}")
        uvloop.run(SignerServer(rules, folder).run())
    finally:
        keys.close()


def make_wrapping(settings: Settings, officer_pin: Path) -> None:
    """Make the wrapping key of the token that holds customers' keys.

    Raises:
        ConfigurationInvalid: module, token or PIN is missing.
        KeystoreRefused: there is one, or the token does not make it.
    """
    label = settings.pkcs11_tokens.get("seal")
    if settings.pkcs11_module is None or label is None:
        raise ConfigurationInvalid("name module and token", field="pkcs11_tokens")
    pin = read_pin(officer_pin, "officer_pin_file")
    make_wrapping_key(settings.pkcs11_module, label, pin)


def _say(words: str) -> None:
    sys.stderr.write(f"signer: {words}\n")
    sys.stderr.flush()


def main(words: Sequence[str]) -> int:
    """Exit code 1 with one line for what an operator can put right."""
    close_memory()
    try:
        if words[:1] == [_WRAPPING]:
            make_wrapping(load(), Path(words[1]))
        else:
            serve(load())
    except HashsealError as error:
        _say(f"{error.detail} ({error.code})")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
