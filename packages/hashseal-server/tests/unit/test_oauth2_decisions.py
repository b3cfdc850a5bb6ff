"""The endpoints of OAuth2, decided without a database: what is given, and what is refused how."""

from __future__ import annotations

import base64
import itertools
import logging
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from hashseal_core.problems import problem_of
from hashseal_server.accounts import tokens
from hashseal_server.accounts.model import AccountId, ClientId
from hashseal_server.accounts.oauth2 import (
    Asked,
    claimed_client,
    granted,
    read_parameters,
    to_be_revoked,
)
from hashseal_server.accounts.token_model import Client

KEYS = tokens.Keyring([b"k" * 32])
MADE = tokens.make_client(KEYS)
OTHER = tokens.make_client(KEYS)
CLIENT = Client(
    ClientId(MADE.id), AccountId("a"), "erp", frozenset({"sign", "read"}), (),
    datetime(2026, 1, 31, tzinfo=UTC),
)  # fmt: skip
FORM = "application/x-www-form-urlencoded"
GRANT = {"grant_type": "client_credentials"}
IN_BODY = {"client_id": MADE.id, "client_secret": MADE.text}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


HEADER = basic(MADE.id, MADE.text)


def is_secret(text: str) -> bool:
    return text == MADE.text


def decide(parameters: dict[str, str], authorization: str | None = None) -> frozenset[str]:
    """As the service does it: whoever has the claimed id is looked up between the two."""
    asked = Asked(parameters, authorization)
    known = CLIENT if claimed_client(asked) == CLIENT.id else None
    return granted(asked, known, is_secret)


def test_both_ways_to_authenticate() -> None:
    assert decide(GRANT, HEADER) == {"sign", "read"}
    assert decide({**GRANT, **IN_BODY}) == {"sign", "read"}
    assert decide({**GRANT, "client_id": MADE.id}, HEADER) == {"sign", "read"}
    assert decide({**GRANT, "resource": "https://example.com"}, HEADER) == {"sign", "read"}
    assert decide({**GRANT, "scope": "read"}, HEADER) == {"read"}
    assert decide({**GRANT, "scope": "read read  sign"}, HEADER) == {"read", "sign"}


@pytest.mark.parametrize(
    ("parameters", "authorization", "error", "code"),
    [
        ({}, HEADER, InvalidRequest, "invalid_request"),
        ({"grant_type": "password"}, HEADER, GrantUnsupported, "unsupported_grant_type"),
        ({"grant_type": "\u2603 <b>"}, HEADER, GrantUnsupported, "unsupported_grant_type"),
        ({**GRANT, "scope": " "}, HEADER, ScopeInvalid, "invalid_scope"),
        ({**GRANT, "scope": "manage"}, HEADER, ScopeInvalid, "invalid_scope"),
        ({**GRANT, "scope": "read \u2603"}, HEADER, ScopeInvalid, "invalid_scope"),
        (GRANT, None, ClientInvalid, "invalid_client"),
        ({**GRANT, "client_id": MADE.id}, None, ClientInvalid, "invalid_client"),
        (GRANT, f"Bearer {MADE.text}", ClientInvalid, "invalid_client"),
        (GRANT, "Basic", ClientInvalid, "invalid_client"),
        (GRANT, "Basic /w==", ClientInvalid, "invalid_client"),  # an octet that is no text
        (GRANT, "Basic !!!!", ClientInvalid, "invalid_client"),
        (GRANT, "Basic " + base64.b64encode(b"no colon").decode(), ClientInvalid, "invalid_client"),
        (GRANT, basic(MADE.id, ""), ClientInvalid, "invalid_client"),
        (GRANT, basic("", MADE.text), ClientInvalid, "invalid_client"),
        (GRANT, basic(MADE.id, OTHER.text), ClientInvalid, "invalid_client"),
        (GRANT, basic(OTHER.id, OTHER.text), ClientInvalid, "invalid_client"),
        (GRANT, basic(MADE.id, tokens.make_client(KEYS, MADE.id).text), ClientInvalid, "invalid_client"),
        ({**GRANT, **IN_BODY}, HEADER, InvalidRequest, "invalid_request"),
        ({**GRANT, "client_id": OTHER.id}, HEADER, InvalidRequest, "invalid_request"),
    ],
    ids=itertools.count(),  # the secrets are new in each process, and tests have the same names in all
)  # fmt: skip
def test_refusals(parameters, authorization, error: type[HashsealError], code: str) -> None:
    with pytest.raises(error) as refused:
        decide(parameters, authorization)
    assert problem_of(refused.value).csc == code
    # The words are ours: RFC 6749, 5.2 allows ASCII, and nothing of the request is repeated.
    assert refused.value.detail.isascii()
    assert "<b>" not in refused.value.detail


def test_a_wrong_secret_and_an_unknown_client_look_alike() -> None:
    told = set()
    for asked in (
        basic(MADE.id, tokens.make_client(KEYS, MADE.id).text),  # wrong
        basic(OTHER.id, OTHER.text),  # unknown
        basic(MADE.id, OTHER.text),  # another's
    ):
        with pytest.raises(ClientInvalid) as refused:
            decide(GRANT, asked)
        told.add((refused.value.code, refused.value.detail, refused.value.field))
    assert len(told) == 1


def test_what_is_to_be_revoked() -> None:
    token = tokens.make(KEYS)

    def revoked(**parameters: str):
        return to_be_revoked(Asked(parameters, HEADER), CLIENT, is_secret)

    assert revoked(token=token.text) == token.id
    # RFC 7009, 2.2: a hint that is wrong, and a token that is none, are no errors.
    for hint in ("access_token", "refresh_token", "nonsense"):
        assert revoked(token=token.text, token_type_hint=hint) == token.id
    assert revoked(token="nonsense") is None
    assert revoked(token=MADE.text) is None
    with pytest.raises(InvalidRequest):
        revoked()
    with pytest.raises(ClientInvalid):
        to_be_revoked(Asked({"token": token.text}, basic(OTHER.id, OTHER.text)), None, is_secret)


def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    token = tokens.make(KEYS)
    with caplog.at_level(logging.DEBUG):
        decide({**GRANT, **IN_BODY})
        decide(GRANT, HEADER)
        to_be_revoked(Asked({"token": token.text}, HEADER), CLIENT, is_secret)
        with pytest.raises(ClientInvalid):
            decide(GRANT, basic(MADE.id, tokens.make_client(KEYS, MADE.id).text))
    assert "authlib" in {record.name.partition(".")[0] for record in caplog.records}
    for secret in (MADE.text, token.text, HEADER):
        assert secret.rpartition("_")[2] not in caplog.text


def test_parameters() -> None:
    body = urlencode({**GRANT, "scope": "read sign", "empty": ""}).encode()
    assert read_parameters(FORM, body) == {**GRANT, "scope": "read sign"}
    assert read_parameters(f"{FORM}; charset=UTF-8", b"a=%C3%A9+x") == {"a": "\u00e9 x"}
    assert read_parameters(FORM, b"") == {}
    json = b'{"grant_type": "client_credentials"}'
    assert read_parameters("application/json", json, json_too=True) == GRANT
    with pytest.raises(UnsupportedMediaType):
        read_parameters("application/json", json)


@pytest.mark.parametrize(
    ("media_type", "body", "error"),
    [
        ("", b"a=b", UnsupportedMediaType),
        ("application/pdf", b"%PDF-1.7", UnsupportedMediaType),
        (FORM, b"a=" + b"b" * 8191, BodyTooLarge),
        (FORM, b"a=1&a=2", InvalidRequest),
        (FORM, b"a=\xff", MalformedRequest),
        (FORM, b"a=%ff", MalformedRequest),
        (FORM, b"&".join(b"%d=1" % n for n in range(40)), MalformedRequest),
        ("application/json", b"[]", MalformedRequest),
        ("application/json", b'{"a": 1}', MalformedRequest),
        ("application/json", b'{"a": "\xff"}', MalformedRequest),
        ("application/json", b"[" * 8000, MalformedRequest),
        ("application/json", b'{"a": "1", "a": "2"}', InvalidRequest),
        ("application/json", b'{"a": "1", "a": "1"}', InvalidRequest),
        ("application/json", b'{"a": {"b": "c"}}', MalformedRequest),
        ("application/json", b'{"a": "\\ud800"}', MalformedRequest),
        ("application/json", '{"a": "b"}'.encode("utf-16"), MalformedRequest),
    ],
)
def test_bodies_that_are_none(media_type: str, body: bytes, error: type[HashsealError]) -> None:
    with pytest.raises(error):
        read_parameters(media_type, body, json_too=True)


@given(
    st.sampled_from([FORM, "application/json"]),
    st.one_of(
        st.binary(max_size=300),
        st.text(alphabet='=&%+;{}":,ab\\u0\n', max_size=60).map(str.encode),
    ),
)
def test_whatever_the_body_is(media_type: str, body: bytes) -> None:
    try:
        found = read_parameters(media_type, body, json_too=True)
    except (InvalidRequest, MalformedRequest):
        return
    assert all(isinstance(name, str) and value for name, value in found.items())


NAMES = st.sampled_from(["grant_type", "client_id", "client_secret", "scope", "token", "x"])
VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from([MADE.id, MADE.text, OTHER.text, "client_credentials", "read"]),
)
HEADERS = st.one_of(
    st.none(),
    st.text(max_size=40),
    st.text(max_size=40).map("Basic {}".format),
    st.binary(max_size=60).map(lambda octets: "Basic " + base64.b64encode(octets).decode()),
    st.tuples(VALUES, VALUES).map(lambda pair: basic(*pair)),
)


@given(st.dictionaries(NAMES, VALUES), HEADERS)
def test_whatever_is_asked_only_the_secret_gets_something(parameters, header) -> None:
    shown = []

    def watched(text: str) -> bool:
        shown.append(text)
        return text == MADE.text

    asked = Asked(parameters, header)
    for decision in (granted, to_be_revoked):
        shown.clear()
        refused: HashsealError | None = None
        try:
            known = CLIENT if claimed_client(asked) == CLIENT.id else None
            decision(asked, known, watched)
        except HashsealError as error:
            refused = error
        if refused is None:
            assert shown[-1] == MADE.text
        else:
            assert refused.detail.isascii()
