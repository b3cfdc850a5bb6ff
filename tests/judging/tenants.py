"""The matrix of tenants (I15): what each operation has to do with an account's objects.

A new operation needs one row in `ROWS`, under its operationId; the tests say so if it has none.
Everything else is made from the OpenAPI document: its example is sent with the account's own ids in
it, and then, in each place that takes a text, every id of the other account and one that is nobody's.

* An operation without account data has the scope "public".
* If it takes ids of a new kind, let `one_of_everything` make one, and name it in `examples.IDS`.
* If it uses something up (deletes it, or works once), give the row `fresh`, which makes a new one.
* If an id may rightly be told from one that is nobody's, say in `tells` where, and why.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

import described
from described import ANY_PLACE, Described

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.accounts.token_model import read_terms
from hashseal_server.pki.model import LegalPerson
from hashseal_server.web import examples

Objects = dict[str, str]
"""Kind, under the name that it has in requests (`seal_id`), to id."""
KEY = "Idempotency-Key"
SCOPES = ["sign", "read", "manage"]
_NUMBERS = itertools.count(1)
_TENS = str.maketrans("0123456789", "9876543210")
_SIXTEENS = str.maketrans("0123456789abcdef", "fedcba9876543210")


@dataclass(frozen=True, slots=True)
class Row:
    """One operation.

    Attributes:
        scope: "account" if it reads or changes what an account has.
        tells: place (as `places` names it) to the reason why foreign and absent differ there.
        fresh: own objects to use instead, made anew for each request.
        refused: why it does not work even with one's own ids.
    """

    scope: Literal["account", "public"] = "account"
    tells: Mapping[str, str] = field(default_factory=dict)
    fresh: Callable[[Any], Awaitable[Objects]] | None = None
    refused: str = ""


async def _signed(api: Any) -> Objects:
    answer = (await api.sign(f"fresh {next(_NUMBERS)}", level="B-T")).json()
    return {"signature_id": answer["signatures"][0]["id"]}


async def _token(api: Any) -> Objects:
    account = (await api.get("/v1/account")).json()["id"]
    made = await api.operator.accounts.create_token(account)
    return {"token_id": made.id}


async def _client(api: Any) -> Objects:
    account = (await api.get("/v1/account")).json()["id"]
    made, _ = await api.operator.clients.create(account, read_terms())
    return {"client_id": made.id}


async def _address(api: Any) -> Objects:
    return {"url": f"https://hooks.example.com/fresh/{next(_NUMBERS)}"}


async def _webhook(api: Any) -> Objects:
    asked = await _address(api)
    for one in (await api.get("/v1/webhooks")).json()["webhooks"][1:]:
        headers = {"authorization": f"Bearer {api.token}"}
        await api.http.request("DELETE", f"/v1/webhooks/{one['id']}", headers=headers)
    return {"webhook_id": (await api.post("/v1/webhooks", asked)).json()["webhook"]["id"]}


async def _delivery(api: Any) -> Objects:
    made = await _webhook(api)
    path = f"/v1/webhooks/{made['webhook_id']}"
    await api.post(f"{path}/test", {})
    listed = (await api.get(f"{path}/deliveries")).json()["deliveries"]
    return made | {"delivery_id": listed[0]["id"]}


async def _sad(api: Any) -> Objects:
    """An authorisation of one hash, with room for another."""
    asked = examples.REQUESTS["cscV2CredentialsAuthorize"]["one"]
    body = asked | {"credentialID": api.seal, "numSignatures": 2}
    return {"SAD": (await api.post("/csc/v2/credentials/authorize", body)).json()["SAD"]}


async def _waiting(api: Any) -> Objects:
    """A signature that waits for its document timestamp."""
    asked = examples.REQUESTS["cscV2SignaturesSignDoc"]["one"]
    (entry,) = asked["documentDigests"]
    entry = entry | {"conformance_level": "Ades-B-LTA"}
    body = asked | {"credentialID": api.seal, "documentDigests": [entry]} | await _sad(api)
    assert (await api.post("/csc/v2/signatures/signDoc", body)).status_code == 200
    return {}


PUBLIC = Row("public")
ROWS: Mapping[str, Row] = {
    "signDocuments": Row(),
    "timestampDocument": Row(fresh=_signed),
    "collectValidation": Row(
        tells={"body/serials/0": "OCSP tells everybody which certificates our authority issued"}
    ),
    "listSeals": Row(),
    "showSeal": Row(),
    "showAccount": Row(),
    "listSignatures": Row(),
    "showSignature": Row(),
    "showUsage": Row(),
    "showOrder": Row(),
    "listTokens": Row(),
    "createToken": Row(),
    "regenerateToken": Row(),
    "rotateToken": Row(fresh=_token),
    "revokeToken": Row(fresh=_token),
    "listClients": Row(),
    "createClient": Row(),
    "rotateClient": Row(fresh=_client),
    "revokeClient": Row(fresh=_client),
    "showAppearance": Row(),
    "listEvents": Row(),
    "listWebhooks": Row(),
    "createWebhook": Row(fresh=_address),
    "showWebhook": Row(),
    "updateWebhook": Row(),
    "removeWebhook": Row(fresh=_webhook),
    "rotateWebhookSecret": Row(),
    "testWebhook": Row(fresh=_webhook),
    "listDeliveries": Row(),
    "redeliver": Row(fresh=_delivery),
    **{
        f"csc{version}{name}": row
        for version in ("V1", "V2")
        for name, row in {
            "AccessToken": PUBLIC,
            "RevokeAccessToken": PUBLIC,
            "Info": PUBLIC,
            "CredentialsList": Row(),
            "CredentialsInfo": Row(),
            "CredentialsAuthorize": Row(),
            "CredentialsExtendTransaction": Row(fresh=_sad),
            "SignaturesSignDoc": Row(fresh=_sad),
            "SignaturesSignHash": Row(refused="raw credentials are off by default"),
            "SignaturesTimestamp": Row(fresh=_waiting),
        }.items()
    },
    "getAccessToken": PUBLIC,
    "revokeAccessToken": PUBLIC,
    "timestamp": PUBLIC,
    "status": PUBLIC,
    "statusByAddress": PUBLIC,
    "revocationList": PUBLIC,
    "issuerCertificate": PUBLIC,
    "health": PUBLIC,
    "ready": PUBLIC,
    "metrics": PUBLIC,
    "openapi": PUBLIC,
    "docs": PUBLIC,
}


def key_for(known: str, operation: Described) -> str:
    """The account's key that stands for this one with this operation: each can be used once."""
    return f"{known}-{operation.name}"


def hash_of(text: str) -> str:
    """A hash that is one segment of a path, so that it reaches the operation there too."""
    tries = (base64.b64encode(hashlib.sha256(f"{text}{n}".encode()).digest()).decode()
             for n in itertools.count())  # fmt: skip
    return next(one for one in tries if "/" not in one)


async def one_of_everything(api: Any, name: str, number: int) -> tuple[str, Objects]:
    """A new account with one object of each kind: its token, and their ids."""
    operator = api.operator
    account = await operator.accounts.create(name)
    token = await operator.accounts.create_token(account.id, read_terms(scopes=SCOPES))
    client, _ = await operator.clients.create(account.id, read_terms())
    order = await operator.accounts.record_order(account.id, 5000)
    book = await operator.seals()
    subject = LegalPerson(f"{name} Seal", name, f"NTRCH-{number}", "CH")
    seal = await book.create(account.id, subject, kind="official", algorithm=KeyAlgorithm.P256)
    body = {"seal_id": seal.id, "level": "B-T", "hashes": [hash_of(name)]}
    for operation in described.operations():
        if any(one["name"] == KEY for one in operation.parameters):
            key = key_for(f"key-of-{number}", operation)
            headers = {"authorization": f"Bearer {token.text}", KEY: key}
            answer = await api.http.post("/v1/documents/sign", json=body, headers=headers)
            signed = answer.json()
    headers = {"authorization": f"Bearer {token.text}"}
    asked = {"url": f"https://hooks.example.com/{number}"}
    hook = (await api.http.post("/v1/webhooks", json=asked, headers=headers)).json()
    path = f"/v1/webhooks/{hook['webhook']['id']}"
    await api.http.post(f"{path}/test", headers=headers)
    deliveries = (await api.http.get(f"{path}/deliveries", headers=headers)).json()
    return token.text, {
        "webhook_id": hook["webhook"]["id"],
        "delivery_id": deliveries["deliveries"][0]["id"],
        "credentialID": seal.id,
        "account_id": account.id,
        "token_id": token.id,
        "client_id": client.id,
        "order_id": order.id,
        "seal_id": seal.id,
        "call_id": signed["id"],
        "signature_id": signed["signatures"][0]["id"],
        "timestamp_serial": signed["signatures"][0]["timestamp"]["serial"],
        "serial": str(seal.serial),
        "hash": hash_of(name),
        KEY: f"key-of-{number}",
    }


@dataclass
class Asking:
    """A request that is made from the document: an example with ids put in."""

    operation: Described
    values: dict[str, str]
    body: Any

    def __post_init__(self) -> None:
        self.body = copy.deepcopy(self.body)

    async def send(self, http: Any, token: str | None) -> Any:
        path = ANY_PLACE.sub(
            lambda found: quote(self.values[f"path/{found[1]}"], safe=""), self.operation.path
        )
        headers, query = {}, {}
        for place, value in self.values.items():
            where, _, name = place.partition("/")
            if where == "header":
                headers[name] = value
            elif where == "query":
                query[name] = value
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        sent: dict[str, Any] = {"headers": headers, "params": query}
        media_type = self.operation.media_type
        if media_type == "application/json":
            sent["json"] = self.body
        elif media_type == "application/x-www-form-urlencoded":
            sent["data"] = self.body
        elif media_type is not None:
            sent["content"] = b"\x30\x00"
            headers["content-type"] = media_type
        return await http.request(self.operation.method.upper(), path, **sent)

    def places(self) -> Iterator[str]:
        """Every place that takes a text: `path/…`, `query/…`, `header/…`, `body/…`."""
        for one in self.operation.parameters:
            yield f"{one['in']}/{one['name']}"
        yield from (f"body{where}" for where in _texts(self.body))

    def put(self, place: str, value: str) -> Asking:
        """The same with another text in one place."""
        made = Asking(self.operation, dict(self.values), self.body)
        if not place.startswith("body/"):
            made.values[place] = value
            return made
        *way, last = place.split("/")[1:]
        inside = made.body
        for step in way:
            inside = inside[int(step) if isinstance(inside, list) else step]
        inside[int(last) if isinstance(inside, list) else last] = value
        return made


def asking(operation: Described, own: Objects, example: Any = None) -> Asking:
    """The operation's first example (or this one), with an account's own ids in it."""
    shown = operation.examples()
    body = example if example is not None else next(iter(shown.values()), None)
    values: dict[str, str] = {}
    for one in operation.parameters:
        name, where = one["name"], one["in"]
        if name == KEY:
            values[f"header/{name}"] = f"matrix-{next(_NUMBERS)}"
        elif name in own:
            values[f"{where}/{name}"] = own[name]
        elif where == "path":
            values[f"{where}/{name}"] = one.get("example", "AAAA")
    return Asking(operation, values, _own(body, own))


def _own(body: Any, own: Objects) -> Any:
    if isinstance(body, dict):
        return {
            name: own[name] if isinstance(value, str) and name in own else _own(value, own)
            for name, value in body.items()
        }
    if isinstance(body, list):
        return [_own(one, own) for one in body]
    return body


def _texts(body: Any, where: str = "") -> Iterator[str]:
    if isinstance(body, str):
        yield where
    elif isinstance(body, dict):
        for name, value in body.items():
            yield from _texts(value, f"{where}/{name}")
    elif isinstance(body, list):
        for number, value in enumerate(body):
            yield from _texts(value, f"{where}/{number}")


def absent(kind: str, known: str) -> str:
    """Nobody's id of the same form and about the same size."""
    if kind == "hash":
        return hash_of(f"nobody's {next(_NUMBERS)}")
    if kind == KEY:
        return f"nobody-{next(_NUMBERS)}"
    if known.isdigit():
        return known[0] + known[1:].translate(_TENS)
    return re.sub(r"[0-9a-f]{8,}", lambda one: one[0][0] + one[0][1:].translate(_SIXTEENS), known)


def told(answer: Any, sent: str) -> tuple[int, Any, list[str]]:
    """All that an answer says, but for the id of the request and what was sent.

    Of a success its shape: what is made anew (signatures, serials, times) differs each time.
    """
    skipped = {"x-request-id", "date", "content-length"}
    heads = sorted(
        f"{name}: {'' if answer.is_success else value}"
        for name, value in answer.headers.items()
        if name not in skipped
    )
    if answer.is_success:
        is_json = "json" in answer.headers.get("content-type", "")
        return answer.status_code, _shape(answer.json()) if is_json else "", heads
    body = re.sub(r'"request_id":"[0-9a-f]+"', "", answer.text).replace(sent, "…")
    return answer.status_code, body, heads


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shape(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_shape(one) for one in value[:1]]
    return type(value).__name__


def named() -> Iterator[tuple[Described, Row]]:
    """Every operation with its row."""
    for operation in described.operations():
        yield operation, ROWS[operation.name]
