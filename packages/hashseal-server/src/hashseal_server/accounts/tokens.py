"""Secrets that callers send, as text; only keyed hashes of them are ever stored.

`hs_<id>_<secret><check>` is a token: an API token, or an access token of OAuth2. The secret of an
OAuth2 client begins with `hsc_`. Scanners find both by their beginning, and know by the check
digits (CRC-32) that it is no accident.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hashseal_core import bearer
from hashseal_core.errors import TokenInvalid, TokenMissing
from hashseal_server.accounts.model import TokenId

_TOKEN = "hs"  # noqa: S105 - how one begins
_CLIENT = "hsc"
_DOMAIN = b"hashseal secret 2\0"


class Keyring:
    """Keys of the hashes, newest first: the first makes them, every one is known.

    A program of before schema 0012 knows neither ends nor scopes. It hashed the bare text, so it
    knows none of the secrets that are made since: it refuses them instead of taking them for more
    than they are.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def keyed_hash(self, text: str) -> bytes:
        """HMAC-SHA256 under the newest key."""
        return hmac.digest(self._keys[0], _DOMAIN + text.encode(), "sha256")

    def matches(self, text: str, kept: bytes) -> bool:
        """The hash that is kept is this secret's."""
        return any(hmac.compare_digest(form, kept) for form in self._forms(text))

    def is_of_the_newest(self, text: str, kept: bytes) -> bool:
        """A hash that matches was made with the newest key."""
        if len(self._keys) == 1:
            return True
        key, octets = self._keys[0], text.encode()
        forms = (hmac.digest(key, form, "sha256") for form in (_DOMAIN + octets, octets))
        return any(hmac.compare_digest(form, kept) for form in forms)

    def _forms(self, text: str) -> Iterator[bytes]:
        octets = text.encode()
        for key in self._keys:
            yield hmac.digest(key, _DOMAIN + octets, "sha256")
        for key in self._keys:
            yield hmac.digest(key, octets, "sha256")


@dataclass(frozen=True, slots=True)
class NewToken:
    """`text` is shown once; `keyed_hash` is stored."""

    id: TokenId
    text: str
    keyed_hash: bytes


def make(keys: Keyring, token_id: str | None = None) -> NewToken:
    """A new token; or a new secret for the one with this id."""
    return _make(_TOKEN, keys, token_id)


def make_client(keys: Keyring, client_id: str | None = None) -> NewToken:
    """The same for a client of OAuth2."""
    return _make(_CLIENT, keys, client_id)


def read(authorization: str | None) -> tuple[TokenId, str]:
    """Id and text of the token in an Authorization header (RFC 6750, 2.1).

    Raises:
        TokenMissing: no bearer token.
        TokenInvalid: it cannot be one of ours (form or check digits).
    """
    text = bearer.text_of(authorization)
    if text is None:
        raise TokenMissing("send Authorization: Bearer with an API token")
    if (token_id := id_of(text)) is None:
        raise TokenInvalid("the token is not valid")
    return token_id, text


def id_of(text: str) -> TokenId | None:
    """The id in a token; None when it cannot be one of ours."""
    return _id_of(_TOKEN, text)


def client_of(text: str) -> TokenId | None:
    """The client's id in a client secret; None when it cannot be one of ours."""
    return _id_of(_CLIENT, text)


def _id_of(kind: str, text: str) -> TokenId | None:
    found = bearer.id_of(kind, text)
    return None if found is None else TokenId(found)


def _make(kind: str, keys: Keyring, known: str | None) -> NewToken:
    made = bearer.make(kind, secrets.token_bytes(bearer.ID_OCTETS + bearer.SECRET_OCTETS), known)
    return NewToken(TokenId(made.id), made.text, keys.keyed_hash(made.text))
