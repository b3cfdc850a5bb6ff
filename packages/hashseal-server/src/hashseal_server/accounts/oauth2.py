"""What the token endpoint (RFC 6749, 3.2 and 4.4) and revocation (RFC 7009) decide, without I/O.

Authlib takes the decisions. It is given what it may have to look up, and what it wants to keep is
handed back, so nothing here waits. What it would let through, or tell too much about, is refused
before: a parameter or a way to authenticate given twice, a header that cannot be read, and which of
id and secret was wrong. No secret is made here: Authlib logs what it issues.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    ClientCredentialsGrant,
    ClientMixin,
    InvalidScopeError,
    OAuth2Request,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7009 import RevocationEndpoint

from hashseal_core.errors import (
    BodyTooLarge,
    ClientInvalid,
    GrantUnsupported,
    HashsealError,
    InvalidRequest,
    MalformedRequest,
    ScopeInvalid,
    UnsupportedMediaType,
)
from hashseal_server.accounts import tokens
from hashseal_server.accounts.model import TokenId
from hashseal_server.accounts.token_model import Client

MAX_BODY = 8 * 1024
_MAX_FIELDS = 32
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_METHODS = ("client_secret_basic", "client_secret_post")
_ADDRESS = "https://oauth2.invalid/"  # Authlib wants one; the proxy in front has done TLS
_UNKNOWN = "the client is not known, or its secret is wrong"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to one of the two endpoints: the parameters of its body, and one header."""

    parameters: Mapping[str, str]
    authorization: str | None = None


def read_parameters(content_type: str, body: bytes, *, json_too: bool = False) -> dict[str, str]:
    """The parameters of a body; those without a value are left out (RFC 6749, 3.2).

    `json_too` takes an object of strings as well, as some clients of the CSC API send it.

    Raises:
        UnsupportedMediaType, BodyTooLarge, MalformedRequest: it cannot be read.
        InvalidRequest: a parameter is there twice.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != _FORM and not (json_too and media_type == _JSON):
        raise UnsupportedMediaType(f"send {_FORM}")
    if len(body) > MAX_BODY:
        raise BodyTooLarge("a body has 8 KiB at most here")
    pairs = _object(body) if media_type == _JSON else _form(body)
    if len({name for name, _ in pairs}) < len(pairs):
        raise InvalidRequest("a parameter is there more than once")
    return {name: value for name, value in pairs if value}


def claimed_client(asked: Asked) -> str:
    """The id that a client says it has (RFC 6749, 2.3.1); its secret has the form of one.

    Raises:
        ClientInvalid: nothing of this kind was sent.
        InvalidRequest: it was sent in two ways.
    """
    parameters = asked.parameters
    client_id, secret = parameters.get("client_id"), parameters.get("client_secret")
    if asked.authorization is not None:
        if secret is not None:
            raise InvalidRequest("authenticate by the header or in the body, not by both")
        named, secret = _basic(asked.authorization)
        if client_id not in {None, named}:
            raise InvalidRequest("header and body name different clients")
        client_id = named
    if not client_id or not secret:
        raise ClientInvalid(
            "send the client's id and secret, by Basic authentication or in the body"
        )
    if tokens.client_of(secret) != client_id:
        raise ClientInvalid(_UNKNOWN)
    return client_id


def granted(
    asked: Asked, client: Client | None, is_secret: Callable[[str], bool]
) -> frozenset[str]:
    """The scopes that a request to the token endpoint is given (RFC 6749, 4.4 and 3.3).

    Args:
        asked: the request.
        client: whoever has the claimed id, if anybody has.
        is_secret: the text is this client's secret, now.

    Raises:
        ClientInvalid, GrantUnsupported, ScopeInvalid, InvalidRequest: nothing is given.
    """
    if "grant_type" not in asked.parameters:
        raise InvalidRequest("grant_type is missing", field="grant_type")
    server = _Server(client, is_secret)
    server.register_grant(_Grant)
    answer = server.create_token_response(_request(asked.parameters, asked.authorization))
    return frozenset(answer["scope"].split())


def to_be_revoked(
    asked: Asked, client: Client | None, is_secret: Callable[[str], bool]
) -> TokenId | None:
    """The id of the token that is to be revoked (RFC 7009, 2.1); None if it is none of ours.

    It may be any token: only one that was issued to this very client may be revoked. The hint is
    not needed and not looked at.

    Raises:
        ClientInvalid, InvalidRequest: nothing is to be done.
    """
    server = _Server(client, is_secret)
    server.register_endpoint(_Revocation)
    parameters = {
        name: value for name, value in asked.parameters.items() if name != "token_type_hint"
    }
    server.create_endpoint_response(
        _Revocation.ENDPOINT_NAME, _request(parameters, asked.authorization)
    )
    return server.revoked


class _Request(OAuth2Request):  # type: ignore[misc]
    """A request as Authlib reads it."""

    @property
    def form(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.payload.data
        return found


class _Client(ClientMixin):  # type: ignore[misc]
    """A client as Authlib asks about it."""

    def __init__(self, client: Client, is_secret: Callable[[str], bool]) -> None:
        self.scopes = client.scopes
        self._is_secret = is_secret

    def check_client_secret(self, client_secret: str) -> bool:
        return self._is_secret(client_secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        del endpoint
        return method in _METHODS

    def check_grant_type(self, grant_type: str) -> bool:
        return bool(grant_type == ClientCredentialsGrant.GRANT_TYPE)


class _Server(AuthorizationServer):  # type: ignore[misc]
    """The endpoints for one request; `client` is whoever has the claimed id."""

    def __init__(self, client: Client | None, is_secret: Callable[[str], bool]) -> None:
        super().__init__()
        self._client = None if client is None else _Client(client, is_secret)
        self.revoked: TokenId | None = None

    def query_client(self, _client_id: str) -> _Client | None:
        return self._client

    def generate_token(self, *, client: _Client, scope: str | None, **_: Any) -> dict[str, str]:
        """The scopes alone: what is issued is made, and kept, by whoever asked for the decision."""
        return {"scope": scope or " ".join(sorted(client.scopes))}

    def save_token(self, token: dict[str, str], request: Any) -> None:
        """It is kept elsewhere."""

    def send_signal(self, *_: Any, **__: Any) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: _Request) -> _Request:
        return request

    def handle_response(self, _status: int, body: Any, _headers: Any) -> Any:
        return body

    def handle_error_response(self, _request: Any, error: Any) -> Any:
        raise _translated(error) from None  # it may repeat what was sent


class _Grant(ClientCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = _METHODS

    def validate_requested_scope(self) -> None:
        scope = self.request.payload.scope
        if scope is None:
            return
        asked = set(scope.split())
        if not asked or not asked <= self.request.client.scopes:
            raise InvalidScopeError


class _Revocation(RevocationEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS = _METHODS

    def query_token(self, token_string: str, _hint: str | None) -> _Presented | None:
        found = tokens.id_of(token_string)
        return None if found is None else _Presented(found)

    def revoke_token(self, token: _Presented, _request: Any) -> None:
        self.server.revoked = token.id


@dataclass(frozen=True, slots=True)
class _Presented:
    """A token that somebody wants revoked; whose it is, the statement that revokes it asks."""

    id: TokenId

    def check_client(self, _client: Any) -> bool:
        return True


def _request(parameters: Mapping[str, str], authorization: str | None) -> _Request:
    headers = {} if authorization is None else {"Authorization": authorization}
    made = _Request("POST", _ADDRESS, headers=headers)
    made.payload = BasicOAuth2Payload(dict(parameters))
    return made


def _translated(error: OAuth2Error) -> HashsealError:
    """Our words for Authlib's error: nothing of the request is in them."""
    match error.error:
        case "invalid_client":
            return ClientInvalid(_UNKNOWN)
        case "invalid_scope":
            return ScopeInvalid("the client has not all of these scopes", field="scope")
        case "unsupported_grant_type" | "unauthorized_client":
            return GrantUnsupported("only client_credentials can be had here", field="grant_type")
    return InvalidRequest("a parameter is missing or cannot be taken")


def _basic(authorization: str) -> tuple[str, str]:
    """User and password of a header (RFC 7617, encoded as RFC 6749, 2.3.1 says).

    Raises:
        ClientInvalid: it is another kind, or cannot be read.
    """
    scheme, _, coded = authorization.partition(" ")
    unreadable = ClientInvalid("send Authorization: Basic with the client's id and secret")
    if scheme.lower() != "basic":
        raise unreadable
    try:
        text = base64.b64decode(coded.strip(), validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise unreadable from error
    user, colon, password = text.partition(":")
    if not colon:
        raise unreadable
    return unquote_plus(user), unquote_plus(password)


def _form(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError as error:
        raise MalformedRequest(f"the body is not {_FORM}") from error


def _object(body: bytes) -> list[tuple[str, str]]:
    """The members of one flat object, also those that are there twice."""
    malformed = MalformedRequest("the body is not one JSON object of texts")
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_Members)
        if not isinstance(found, _Members) or any(not isinstance(text, str) for _, text in found):
            raise malformed
        for name, text in found:
            (name + text).encode("utf-8")  # half of a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise malformed from error
    return found


class _Members(list[tuple[str, str]]):
    """An object as it was written."""
