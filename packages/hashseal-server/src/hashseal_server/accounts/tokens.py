"""API tokens: `hs_<id>_<secret><check>`; only a keyed hash of the secret is ever stored."""

from __future__ import annotations

import hmac
import re
import secrets
import zlib
from dataclasses import dataclass

from hashseal_core.errors import TokenInvalid, TokenMissing
from hashseal_server.accounts.model import TokenId

_TOKEN = re.compile(r"(hs_([0-9a-f]{16})_[0-9a-f]{48})([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class NewToken:
    """`text` is shown once; `keyed_hash` is stored."""

    id: TokenId
    text: str
    keyed_hash: bytes


def make(pepper: bytes) -> NewToken:
    """A new token."""
    token_id = secrets.token_hex(8)
    body = f"hs_{token_id}_{secrets.token_hex(24)}"
    text = body + _check(body)
    return NewToken(TokenId(token_id), text, keyed_hash(text, pepper))


def keyed_hash(text: str, pepper: bytes) -> bytes:
    """HMAC-SHA256 under the service's own secret."""
    return hmac.digest(pepper, text.encode(), "sha256")


def read(authorization: str | None) -> tuple[TokenId, str]:
    """Id and text of the token in an Authorization header.

    Raises:
        TokenMissing: no bearer token.
        TokenInvalid: it cannot be one of ours (form or check digits).
    """
    scheme, _, text = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not text:
        raise TokenMissing("send Authorization: Bearer with an API token")
    found = _TOKEN.fullmatch(text.strip())
    if found is None or found[3] != _check(found[1]):
        raise TokenInvalid("the token is not valid")
    return TokenId(found[2]), text.strip()


def _check(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
