"""The wire models."""

from __future__ import annotations

import msgspec
import pytest

from hashseal_core import protocol


def test_requests_refuse_unknown_fields_answers_do_not() -> None:
    body = b'{"seal_id":"a","hashes":["AQ=="],"document":"x"}'
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(body, type=protocol.SignDocuments)
    left = msgspec.json.decode(b'{"free":1,"paid":2,"new":3}', type=protocol.Balance)
    assert left == protocol.Balance(1, 2)


def test_binary_is_base64() -> None:
    asked = protocol.SignDocuments(seal_id="a", hashes=[b"\x01"])
    assert b'"AQ=="' in msgspec.json.encode(asked)
    assert msgspec.json.decode(msgspec.json.encode(asked), type=protocol.SignDocuments) == asked
