"""Passwords: argon2id (RFC 9106, second recommended option), and what is too short.

The encoding is PHC's, with parameters and salt, so that they can grow.
"""

from __future__ import annotations

import threading

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from hashseal_core.errors import InvalidValue

LEAST, MOST = 12, 256
_ITERATIONS, _LANES, _KIB, _LENGTH = 3, 4, 64 << 10, 32
SALT_OCTETS = 16
_ONE_AT_A_TIME = threading.Lock()
"""OpenSSL's threads for the lanes are one pool: two derivations at once fail, or wait for ever."""


def require_good(password: str) -> None:
    """Long enough; nothing else makes a password better (NIST SP 800-63B, 5.1.1.2).

    Raises:
        InvalidValue: it is too short or too long.
    """
    if not LEAST <= len(password) <= MOST:
        raise InvalidValue(f"a password has {LEAST} to {MOST} characters", field="password")


def hashed(password: str, salt: bytes) -> str:
    """What is stored of it; `salt` is random. Takes about a tenth of a second on purpose."""
    made = Argon2id(
        salt=salt, length=_LENGTH, iterations=_ITERATIONS, lanes=_LANES, memory_cost=_KIB
    )
    with _ONE_AT_A_TIME:
        return made.derive_phc_encoded(password.encode())


def fits(password: str, stored: str) -> bool:
    """The password is the one that was stored."""
    try:
        with _ONE_AT_A_TIME:
            Argon2id.verify_phc_encoded(password.encode(), stored)
    except InvalidKey:
        return False
    return True
