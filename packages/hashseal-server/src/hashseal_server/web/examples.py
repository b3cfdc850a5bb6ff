"""Examples of the OpenAPI document, by operation: values of the wire models, so they always decode.

Ids and DER are made up and short; what a test sends to a running service has real ids.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from hashseal_core import csc, events, protocol

REQUEST_ID = "4f1c0d5e8a7b2c39"
IDEMPOTENCY_KEY = "invoice-2026-0042"
IDS: Mapping[str, str] = {
    "account_id": "9f86d081884c7d65",
    "client_id": "c0535e4be2b79ffd",
    "call_id": "1f8c4a0e5b7d42f6a3c9e0b81d2f7a64",
    "order_id": "60303ae22b998861",
    "seal_id": "2c26b46b68ffc68f",
    "signature_id": "1f8c4a0e5b7d42f6a3c9e0b81d2f7a64-0",
    "token_id": "fcde2b2edba56bf4",
    "webhook_id": "3fdba35f04dc8c46",
    "delivery_id": "e258d248fda94c63",
    "credentialID": "2c26b46b68ffc68f",
    "SAD": "as-long-as-it-is-valid",
}
"""An id of each kind, under the name that it has in paths and bodies."""
_TEXT: Mapping[str, Any] = {"type": "string"}
_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "encoded": {
        "description": "DER of an OCSPRequest in base64, percent-encoded (RFC 6960, A.1).",
        "schema": _TEXT,
    },
    "name": {
        "description": "Label of an authority and its ending, as certificates name it.",
        "schema": _TEXT,
        "example": "issuing.crl",
    },
}
_AT = datetime(2026, 5, 4, 9, 30, 15, tzinfo=UTC)
_UNTIL = datetime(2026, 5, 11, 9, 0, tzinfo=UTC)
_HASH = hashlib.sha256(b"the ByteRange of a prepared PDF").digest()
_HASH_TEXT = base64.b64encode(_HASH).decode()
_LONGER = base64.b64encode(hashlib.sha512(b"the ByteRange of another PDF").digest()).decode()
_DER = bytes.fromhex("3003020101")
_SERIAL = "327480812361092870293847561029384756102"


def parameter(name: str) -> dict[str, Any]:
    """Schema, description and example of a path parameter."""
    if name in _PARAMETERS:
        return dict(_PARAMETERS[name])
    described: dict[str, Any] = {"schema": _TEXT}
    if name in IDS:
        described["example"] = IDS[name]
    return described


_STAMP = protocol.Timestamp(
    token=_DER, time=_AT, serial=_SERIAL, policy="1.3.6.1.4.1.99999.1.1", accuracy_ms=1000
)
_VALIDATION = protocol.Validation(
    certificates=[_DER], ocsp_responses=[_DER], crls=[_DER], valid_until=_UNTIL
)
_SEAL = protocol.Seal(
    id=IDS["seal_id"],
    kind="official",
    status="active",
    subject="CN=Example Seal,O=Example Organisation,2.5.4.97=NTRCH-1,C=CH",
    algorithm="P-256",
    signature_size=9216,
    valid_until=datetime(2028, 5, 1, tzinfo=UTC),
    certificates=[_DER],
    levels=["B-B", "B-T", "B-LT", "B-LTA"],
)
_RECORD = protocol.SignatureRecord(
    id=IDS["signature_id"],
    call_id=IDS["call_id"],
    seal_id=IDS["seal_id"],
    hash_algorithm="SHA-256",
    hash=_HASH,
    level="B-LT",
    signed_at=_AT,
    timestamp_serial=_SERIAL,
)
_ORDER = protocol.OrderRow(
    id=IDS["order_id"],
    calls=1000,
    unit_price=Decimal("0.45"),
    amount=Decimal("450.00"),
    recorded_at=_AT,
)
_TOKEN = protocol.Token(
    id=IDS["token_id"],
    kind="personal",
    status="active",
    scopes=["sign"],
    networks=["192.0.2.0/24"],
    created_at=_AT,
    label="invoices",
    expires_at=datetime(2027, 5, 4, tzinfo=UTC),
)
_NEW_TOKEN = protocol.NewToken("hs_ and more, shown this once", _TOKEN)
_CLIENT = protocol.Client(
    id=IDS["client_id"],
    status="active",
    scopes=["read", "sign"],
    networks=[],
    created_at=_AT,
    label="gateway",
)
_NEW_CLIENT = protocol.NewClient(IDS["client_id"], "hsc_ and more, shown this once", _CLIENT)
_BALANCE = protocol.Balance(free=99, paid=0)

_EVENT = events.Event("msg_8c2d1f0e5b7a4936", "quota.low", _AT, {"free": 0, "paid": 12})
_WEBHOOK = events.Webhook(
    IDS["webhook_id"], "https://hooks.example.com/seals", [], "for the archive", True, _AT
)
_WEBHOOK_SECRET = events.WebhookSecret(_WEBHOOK, "whsec_ and more, shown this once")
_DELIVERY = events.Delivery(
    IDS["delivery_id"], "msg_8c2d1f0e5b7a4936", "quota.low", "delivered", _AT,
    [events.Attempt(1, _AT, 12, 204)],
)  # fmt: skip
_SHA256, _ECDSA = "2.16.840.1.101.3.4.2.1", "1.2.840.10045.4.3.2"
_CREDENTIAL = {"credentialID": IDS["credentialID"]}
_AUTHORISED = {**_CREDENTIAL, "SAD": IDS["SAD"]}
_HASHED = {"hashes": [_HASH_TEXT], "hashAlgorithmOID": _SHA256}
_CSC_REQUESTS: Mapping[str, Any] = {
    "AccessToken": {"grant_type": "client_credentials", "client_id": IDS["client_id"],
                    "client_secret": "shown-when-the-client-was-made"},
    "RevokeAccessToken": {"token": "the-access-token", "client_id": IDS["client_id"],
                          "client_secret": "shown-when-the-client-was-made"},
    "Info": {"lang": "en"},
    "CredentialsList": {"credentialInfo": True},
    "CredentialsInfo": {**_CREDENTIAL, "certificates": "chain"},
    "CredentialsAuthorize": {**_CREDENTIAL, "numSignatures": 1, **_HASHED},
    "CredentialsExtendTransaction": {**_AUTHORISED, **_HASHED},
    "SignaturesSignDoc": {
        **_AUTHORISED,
        "documentDigests": [
            {**_HASHED, "signature_format": "P", "conformance_level": "Ades-B-T",
             "signAlgo": _ECDSA},
        ],
    },
    "SignaturesSignHash": {**_AUTHORISED, **_HASHED, "signAlgo": _ECDSA},
    "SignaturesTimestamp": dict(_HASHED),
}  # fmt: skip
_CSC_KEY = csc.CscKey("enabled", [_ECDSA], 256, "1.2.840.10045.3.1.7")
_CSC_CREDENTIAL = csc.CscCredential(
    "official seal", _CSC_KEY, csc.CscCertificate("valid", [_DER]), "2", 1000, "en"
)
_CSC_ANSWERS: Mapping[str, msgspec.Struct] = {
    "AccessToken": protocol.AccessToken("hs_ and more", "Bearer", 900, "sign"),
    "Info": csc.CscInfo("2.0.0.2", "Hashseal", "", "CH", "en", "Signs hashes", ["oauth2client"],
                        ["info", "signatures/signDoc"]),
    "CredentialsList": csc.CscCredentials([IDS["credentialID"]]),
    "CredentialsInfo": _CSC_CREDENTIAL,
    "CredentialsAuthorize": csc.CscSad(IDS["SAD"], 300),
    "CredentialsExtendTransaction": csc.CscSad(IDS["SAD"], 300),
    "SignaturesSignDoc": csc.CscSignedDocuments([_DER]),
    "SignaturesSignHash": csc.CscSignedHashes([_DER]),
    "SignaturesTimestamp": csc.CscTimestamp(_DER),
}  # fmt: skip

REQUESTS: Mapping[str, dict[str, Any]] = {
    "signDocuments": {
        "one": {"seal_id": IDS["seal_id"], "hashes": [_HASH_TEXT]},
        "named": {
            "seal_id": IDS["seal_id"],
            "hash_algorithm": "SHA-512",
            "level": "B-T",
            "hashes": [_LONGER],
        },
    },
    "timestampDocument": {
        "one": {"signature_id": IDS["signature_id"], "hash": _HASH_TEXT},
    },
    "collectValidation": {"one": {"serials": [_SERIAL]}},
    "createToken": {
        "one": {"label": "invoices", "scopes": ["sign"], "networks": ["192.0.2.0/24"]},
        "short": {"label": "trial", "holder": "a program", "expires_in_days": 7},
    },
    "regenerateToken": {"one": {"overlap_hours": 24}},
    "rotateToken": {"one": {"overlap_hours": 24}},
    "createClient": {"one": {"label": "gateway", "scopes": ["sign", "read"]}},
    "rotateClient": {"one": {"overlap_hours": 0}},
    "getAccessToken": {
        "one": {
            "grant_type": "client_credentials",
            "client_id": IDS["client_id"],
            "client_secret": "shown-when-the-client-was-made",
            "scope": "sign",
        },
    },
    "createWebhook": {"one": {"url": "https://hooks.example.com/seals", "types": []}},
    "updateWebhook": {"one": {"description": "for the archive", "enabled": True}},
    "rotateWebhookSecret": {"one": {"overlap_hours": 24}},
    **{
        f"csc{version}{name}": {"one": shown}
        for version in ("V1", "V2")
        for name, shown in _CSC_REQUESTS.items()
    },
    "revokeAccessToken": {
        "one": {
            "token": "the-access-token",
            "client_id": IDS["client_id"],
            "client_secret": "shown-when-the-client-was-made",
        },
    },
}
"""Bodies of requests: operation to name to what is sent."""

ANSWERS: Mapping[str, dict[str, msgspec.Struct]] = {
    "signDocuments": {
        "B-LT": protocol.SignedDocuments(
            id=IDS["call_id"],
            seal=protocol.SealReference(IDS["seal_id"]),
            signatures=[protocol.FileSignature(IDS["signature_id"], _HASH, _DER, _STAMP)],
            charged=1,
            balance=_BALANCE,
            validation=_VALIDATION,
        ),
        "B-B": protocol.SignedDocuments(
            id=IDS["call_id"],
            seal=protocol.SealReference(IDS["seal_id"]),
            signatures=[protocol.FileSignature(IDS["signature_id"], _HASH, _DER)],
            charged=1,
            balance=_BALANCE,
        ),
    },
    "timestampDocument": {"one": protocol.TimestampedDocument(_STAMP, _VALIDATION)},
    "collectValidation": {
        "all": protocol.CollectedValidation(unknown=[], revoked=[], validation=_VALIDATION),
        "unknown": protocol.CollectedValidation(unknown=[_SERIAL], revoked=[]),
    },
    "listSeals": {"one": protocol.Seals([_SEAL])},
    "showSeal": {"one": _SEAL},
    "showAccount": {
        "one": protocol.Account(IDS["account_id"], "Example Organisation", ["documents"], _BALANCE),
    },
    "listSignatures": {
        "last page": protocol.SignatureRecords([_RECORD]),
        "page": protocol.SignatureRecords([_RECORD], next="0000000000000064"),
    },
    "showSignature": {"one": _RECORD},
    "showUsage": {
        "one": protocol.Usage(
            rows=[
                protocol.UsageRow(
                    day="2026-05-04",
                    seal_id=IDS["seal_id"],
                    token_id=IDS["token_id"],
                    calls=102,
                    free=100,
                    paid=2,
                    amount=Decimal("0.90"),
                )
            ],
            orders=[_ORDER],
            unit_price=Decimal("0.49"),
            balance=protocol.Balance(free=0, paid=998),
        ),
    },
    "showOrder": {"one": _ORDER},
    "listEvents": {"one": events.Events([_EVENT], next="ZTQy")},
    "listWebhooks": {"one": events.Webhooks([_WEBHOOK])},
    "createWebhook": {"one": _WEBHOOK_SECRET},
    "showWebhook": {"one": _WEBHOOK},
    "updateWebhook": {"one": _WEBHOOK},
    "removeWebhook": {"one": events.Removed(IDS["webhook_id"])},
    "rotateWebhookSecret": {"one": _WEBHOOK_SECRET},
    "testWebhook": {"one": _EVENT},
    "listDeliveries": {"one": events.Deliveries([_DELIVERY])},
    "redeliver": {"one": _DELIVERY},
    **{
        f"csc{version}{name}": {"one": shown}
        for version in ("V1", "V2")
        for name, shown in _CSC_ANSWERS.items()
    },
    "listTokens": {"one": protocol.Tokens([_TOKEN])},
    "createToken": {"one": _NEW_TOKEN},
    "regenerateToken": {"one": _NEW_TOKEN},
    "rotateToken": {"one": _NEW_TOKEN},
    "revokeToken": {"one": _TOKEN},
    "listClients": {"one": protocol.Clients([_CLIENT])},
    "createClient": {"one": _NEW_CLIENT},
    "rotateClient": {"one": _NEW_CLIENT},
    "revokeClient": {"one": _CLIENT},
    "getAccessToken": {"one": protocol.AccessToken("hs_ and more", "Bearer", 900, "sign")},
}
"""Bodies of answers: operation to name to value."""
