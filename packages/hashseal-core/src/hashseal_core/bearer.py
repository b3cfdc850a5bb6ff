"""Bearer secrets that scanners find: `<prefix>_<id>_<secret><check>`.

Only a keyed hash of the whole text is ever stored; the id alone finds its row. Randomness comes in.
"""

from __future__ import annotations

import hmac
import re
import zlib
from dataclasses import dataclass
from functools import lru_cache

from hashseal_core.errors import TokenInvalid, TokenMissing

ID_OCTETS, SECRET_OCTETS = 8, 24


@dataclass(frozen=True, slots=True)
class Bearer:
    """One secret; `text` is shown once, `id` may be known."""

    id: str
    text: str


def make(prefix: str, randomness: bytes, known: str | None = None) -> Bearer:
    """The secret made of 32 random octets; or a new one for the id that is known."""
    identity = known or randomness[:ID_OCTETS].hex()
    body = f"{prefix}_{identity}_{randomness[ID_OCTETS : ID_OCTETS + SECRET_OCTETS].hex()}"
    return Bearer(identity, body + _check(body))


def keyed_hash(text: str, pepper: bytes) -> bytes:
    """HMAC-SHA256 under the installation's own secret."""
    return hmac.digest(pepper, text.encode(), "sha256")


def read(prefix: str, authorization: str | None) -> Bearer:
    """The secret in an Authorization header.

    Raises:
        TokenMissing: no bearer token.
        TokenInvalid: it cannot be one of these (form or check digits).
    """
    text = text_of(authorization)
    if text is None:
        raise TokenMissing("send Authorization: Bearer with a key")
    identity = id_of(prefix, text)
    if identity is None:
        raise TokenInvalid("the key is not valid")
    return Bearer(identity, text)


def text_of(authorization: str | None) -> str | None:
    """What an Authorization header bears (RFC 6750, 2.1); None when it bears nothing."""
    scheme, _, text = (authorization or "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" and text else None


def id_of(prefix: str, text: str) -> str | None:
    """The id in a secret; None when it cannot be one of these (form or check digits)."""
    found = _form(prefix).fullmatch(text)
    return None if found is None or found[3] != _check(found[1]) else found[2]


@lru_cache(maxsize=8)
def _form(prefix: str) -> re.Pattern[str]:
    identity, secret = f"[0-9a-f]{{{2 * ID_OCTETS}}}", f"[0-9a-f]{{{2 * SECRET_OCTETS}}}"
    return re.compile(rf"({prefix}_({identity})_{secret})([0-9a-f]{{8}})")


def _check(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
