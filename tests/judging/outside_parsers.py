"""Every parser of bytes that come from outside, with what it reads and what it may raise.

A function that takes bytes or text from outside needs a row in `PARSERS`, or a reason in `INSIDE` why
what it reads is not from outside; `test_parsers` finds those that have neither.
"""

from __future__ import annotations

import base64
import contextlib
import io
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import generated_pdfs
import msgspec
import parser_material as m
from cryptography import x509
from cryptography.x509.oid import NameOID

from hashseal import pdf, validation
from hashseal.client import signing, wire
from hashseal.client.checking import check_timestamp
from hashseal.pdf.placement import read_place
from hashseal.validation import material
from hashseal.validation.makers import Makers
from hashseal_core import bearer, cms, csc, der, evidence, protocol, tsp, webhooks
from hashseal_core.algorithms import DigestAlgorithm
from hashseal_core.errors import HashsealError
from hashseal_gateway.documents import archive, options
from hashseal_server.accounts import networks, oauth2, tokens
from hashseal_server.csc import algorithms, describing, reading
from hashseal_server.infra import destination, ntp
from hashseal_server.keystore import messages, pkcs12, reference
from hashseal_server.pki import foreign, imported, request, status
from hashseal_server.tsa import external, path
from hashseal_server.web import app, bodies
from hashseal_server.web import webhooks as cursors

Read = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Parser:
    """One parser.

    Attributes:
        reads: functions that this row covers, as `module.function`.
        seeds: makes octets that it takes.
        raises: what it may raise; anything else is a fault.
        weight: examples of a short run, for what is slow.
    """

    read: Read
    reads: tuple[str, ...]
    seeds: Callable[[], Iterable[bytes]]
    raises: tuple[type[Exception], ...] = (HashsealError,)
    weight: int = 150


def text(read: Callable[[str], object]) -> Read:
    """A parser of text, as HTTP hands it over: each octet a character."""
    return lambda octets: read(octets.decode("latin-1"))


def file(read: Callable[[Path], object]) -> Read:
    """A parser of files."""

    def reading(octets: bytes) -> object:
        with tempfile.NamedTemporaryFile(suffix=".pdf") as made:
            made.write(octets)
            made.flush()
            return read(Path(made.name))

    return reading


def everything(octets: bytes) -> None:
    """Walk a DER structure to its leaves, as deep as it goes."""
    waiting = [octets]
    while waiting:
        inside = list(der.elements(waiting.pop()))
        waiting += [element.content for element in inside if element.tag & 0x20]


def unpacked(path: Path) -> object:
    with tempfile.TemporaryDirectory() as folder:
        limits = {"most_documents": 9, "most_octets": 1 << 20, "most_each": 1 << 16}
        return archive.unpack(path, Path(folder), **limits)


def a_zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as writing:
        for name in ("a.pdf", "folder/b.pdf"):
            writing.writestr(name, b"%PDF-1.7 " * 9)
    return made.getvalue()


def house() -> x509.Name:
    parts = (
        (NameOID.COUNTRY_NAME, "CH"),
        (NameOID.ORGANIZATION_NAME, "Test"),
        (NameOID.COMMON_NAME, "Test Root CA"),
    )
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


def issuers() -> tuple[x509.Certificate, x509.Certificate]:
    return m.unit()[0], m.root().lower


def material_of(octets: bytes) -> object:
    given = evidence.ValidationMaterial((octets, *m.chain()[1:]), (octets,), (octets,))
    return evidence.assess([octets], given, at=m.NOW)


def trust() -> external.Trust:
    return external.Trust((m.chain()[2],), None)


def asked() -> tuple[Any, Any]:
    return m.NOW - timedelta(seconds=5), m.NOW + timedelta(seconds=60)


def answer_of(model: type[Any]) -> Read:
    return lambda octets: [wire.read(wire.Reply(one, octets), model) for one in (200, 400)]


JSON: Mapping[type[Any], bytes] = {
    protocol.SignDocuments: b'{"seal_id":"x","hashes":["'
    + b"A" * 43
    + b'="],"hash_algorithm":"SHA-256","level":"B-T"}',
    protocol.TimestampDocument: b'{"signature_id":"x","hash":"' + b"A" * 43 + b'="}',
    protocol.CollectValidation: b'{"serials":["12"]}',
}


def body_of(model: type[Any]) -> Read:
    return lambda octets: bodies.read("application/json", octets, model)


def csc_of(shape: type[Any], use: Callable[[Any], object]) -> Read:
    """A body of the CSC API, and what is made of it."""
    return lambda octets: use(reading.read("application/json", octets, shape))


def parameters(octets: bytes) -> list[object]:
    """Of a request for an access token, as a form and as JSON."""
    kinds = ("application/x-www-form-urlencoded", "application/json")
    found: list[object] = []
    for one in kinds:
        with contextlib.suppress(HashsealError):
            found.append(oauth2.read_parameters(one, octets, json_too=True))
    return found


def small_pdf() -> bytes:
    return generated_pdfs.generate("table", Path(tempfile.mkdtemp()))


def signing_json() -> bytes:
    return b'{"prepared":{},"request":{"seal_id":"x","hashes":["AAAA"]},"seal":{},"idempotency_key":"k"}'


PREPARED = b'{"source":"a.pdf","output":"b.pdf","byte_range":[0,1,2,3],"digest":"AAAA","algorithm":"SHA-256"}'

PLACES = (b"last:bottom-right", b"3:text=Sign here", b"2:5%,5%,20%,10%", b"1:10,20,30,40")
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="42mm" height="42mm" '
    b'viewBox="0 0 4200 4200" fill="#1f3a5f">\n<title>Seal of A &amp; B</title>\n'
    b'<path d="M0 0L100 -5C1 2 3 4 5 6Z"/>\n</svg>\n'
)
PSS = "1.2.840.113549.1.1.10"
PSS_PARAMETERS = bytes.fromhex(
    "3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500"
    "a203020120"
)
_HASH = b"A" * 42 + b"E="
SIGN_HASH = (
    b'{"credentialID":"x","SAD":"s","hashes":["' + _HASH + b'"],"hashAlgorithmOID":'
    b'"2.16.840.1.101.3.4.2.1","signAlgo":"1.2.840.10045.4.3.2"}'
)
SIGN_DOC = (
    b'{"credentialID":"x","SAD":"s","documentDigests":[{"hashes":["' + _HASH + b'"],'
    b'"signature_format":"P","conformance_level":"Ades-B-T","signAlgo":"1.2.840.10045.4.3.2"}]}'
)
STAMP = b'{"hash":"' + _HASH + b'","hashAlgo":"2.16.840.1.101.3.4.2.1","nonce":"4711"}'


def stored_in_file(octets: bytes) -> object:
    """As a certificate, as an OCSP response and as a revocation list."""
    with warnings.catch_warnings(action="ignore"):  # of numbers that should be positive
        makers = Makers([*material.readable(m.chain()), *material.readable([octets])])
        return [makers.of_answer(octets), makers.of_list(octets)]


PARSERS: Mapping[str, Parser] = {
    "DER": Parser(everything, ("der.elements",), lambda: [m.signed_data(), m.chain()[0]]),
    "SignedData": Parser(
        lambda octets: cms.check(cms.parse(cms.strip_padding(octets)), m.DIGEST),
        ("signed_data.parse",),
        lambda: [m.signed_data()],
    ),
    "TimeStampReq": Parser(tsp.parse_request, ("tsp.parse_request",), lambda: [m.QUERY]),
    "TimeStampResp": Parser(
        lambda octets: tsp.parse_token(tsp.token_of_response(octets)),
        ("tsp.token_of_response", "tsp.parse_token"),
        lambda: [m.timestamp_reply(), tsp.refused(2, "no")],
    ),
    "timestamp token": Parser(
        lambda octets: tsp.check_token(octets, m.DIGEST, nonce=m.NONCE),
        ("tsp.check_token", "checking.check_timestamp"),
        lambda: [m.timestamp_token()],
    ),
    "TSTInfo": Parser(tsp.parse_tst_info, ("tsp.parse_tst_info",), lambda: [m.tst_info()]),
    "validation material": Parser(
        material_of,
        ("evidence.assess",),
        lambda: [*m.chain(), m.status_response(), m.revocation_list()],
    ),
    "answers of the service": Parser(
        answer_of(protocol.SignedDocuments),
        ("wire.read",),
        lambda: [
            b'{"id":"x","seal":{"id":"y"},"signatures":[],"charged":1,"balance":{"free":1,"paid":0}}'
        ],
    ),
    "timestamps of the service": Parser(
        lambda octets: check_timestamp(
            octets,
            m.DIGEST,
            protocol.Validation([*m.chain(), octets], [octets], [octets], m.NOW),
        ),
        ("checking.check_timestamp",),
        lambda: [m.timestamp_token()],
    ),
    "a PDF to inspect": Parser(
        file(pdf.inspect), ("reading.inspect",), lambda: [small_pdf()], weight=40
    ),
    "signatures of a PDF": Parser(
        file(pdf.read_signatures), ("reading.read_signatures",), lambda: [small_pdf()], weight=40
    ),
    "a prepared document": Parser(
        text(pdf.PreparedDocument.from_json), ("model.from_json",), lambda: [PREPARED]
    ),
    "a prepared signing": Parser(
        text(signing.PreparedSigning.from_json), ("signing.from_json",), lambda: [signing_json()]
    ),
    "Authorization": Parser(
        text(tokens.read),
        ("tokens.read",),
        lambda: [b"Bearer " + tokens.make(tokens.Keyring([b"x" * 32])).text.encode()],
    ),
    "Authorization of the gateway": Parser(
        text(lambda one: bearer.read("hsg", one)),
        ("bearer.read",),
        lambda: [b"Bearer " + bearer.make("hsg", bytes(range(32))).text.encode()],
    ),
    "options of a document at the gateway": Parser(
        options.read,
        ("options.read",),
        lambda: [b'{"seal":"x","level":"B-LT","appearance":{"page":"any","anchor":{"text":"a"}}}'],
    ),
    "options in a query of the gateway": Parser(
        text(lambda one: options.from_query(dict(parse_qsl(one)))),
        ("options.from_query",),
        lambda: [b"level=B-LT&appearance=last:60%25,75%25,30%25,15%25&reason=a"],
    ),
    "a zip of documents": Parser(file(unpacked), ("archive.unpack",), lambda: [a_zip()], weight=60),
    "parameters of OAuth 2.0": Parser(
        parameters,
        ("oauth2.read_parameters",),
        lambda: [
            b"grant_type=client_credentials&client_id=x&scope=sign%20read",
            b'{"grant_type":"client_credentials","scope":"sign"}',
        ],
        raises=(),
    ),
    "networks": Parser(
        text(lambda one: networks.read_networks(one.split(","))),
        ("networks.read_networks",),
        lambda: [b"192.0.2.0/24,2001:db8::/32,198.51.100.7"],
    ),
    "secret of a webhook": Parser(
        text(webhooks.decode_secret),
        ("webhooks.decode_secret",),
        lambda: [b"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"],
    ),
    "place of an appearance": Parser(text(read_place), ("placement.read_place",), lambda: PLACES),
    "appearance of a seal": Parser(
        pdf.read_drawing, ("drawing.read_drawing",), lambda: [SVG], weight=300
    ),
    "certificates of a credential": Parser(
        text(describing.read_certificates), ("describing.read_certificates",), lambda: [b"chain"]
    ),
    "digest algorithm of the CSC API": Parser(
        text(algorithms.read_digest),
        ("algorithms.read_digest",),
        lambda: [b"2.16.840.1.101.3.4.2.1"],
    ),
    "parameters of RSASSA-PSS": Parser(
        text(lambda one: algorithms.read_algorithm(PSS, one, DigestAlgorithm.SHA256)),
        ("algorithms.read_algorithm", "algorithms._decoded"),
        lambda: [base64.b64encode(PSS_PARAMETERS)],
    ),
    "DER in parameters of RSASSA-PSS": Parser(
        lambda octets: algorithms.read_algorithm(
            PSS, base64.b64encode(octets).decode(), DigestAlgorithm.SHA256
        ),
        ("algorithms.read_algorithm",),
        lambda: [PSS_PARAMETERS],
    ),
    "signDoc": Parser(
        csc_of(csc.CscSignDocRequest, reading.documents),
        ("reading.read", "reading._decoded"),
        lambda: [SIGN_DOC],
    ),
    "signHash": Parser(
        csc_of(csc.CscSignHashRequest, reading.hashes), ("reading.read",), lambda: [SIGN_HASH]
    ),
    "authorize": Parser(
        csc_of(csc.CscAuthorizeRequest, reading.digests), ("reading.read",), lambda: [SIGN_HASH]
    ),
    "timestamp": Parser(
        csc_of(csc.CscTimestampRequest, reading.timestamp), ("reading.read",), lambda: [STAMP]
    ),
    "Idempotency-Key": Parser(
        text(bodies.idempotency_key), ("bodies.idempotency_key",), lambda: [b"a-key_1"]
    ),
    "a cursor": Parser(text(app._cursor), ("app._cursor",), lambda: [b"0000000000000064"]),
    "a cursor of events": Parser(
        text(lambda one: cursors._position("e", one)),
        ("webhooks._position",),
        lambda: [base64.b64encode(b"e4711")],
    ),
    "a day": Parser(
        text(lambda one: app._day(one, m.NOW, "from")), ("app._day",), lambda: [b"2026-01-31"]
    ),
    **{
        f"body {model.__name__}": Parser(
            body_of(model), ("bodies.read", "bodies.decode"), lambda seed=seed: [seed]
        )
        for model, seed in JSON.items()
    },
    "OCSPRequest": Parser(
        status.parse_request, ("status.parse_request",), lambda: [m.status_request()]
    ),
    "OCSPResponse of others": Parser(
        lambda octets: foreign.read_response(octets, *issuers(), m.NOW),
        ("foreign.read_response",),
        lambda: [m.status_response()],
    ),
    "revocation lists of others": Parser(
        lambda octets: foreign.read_list(octets, *issuers(), m.NOW),
        ("foreign.read_list",),
        lambda: [m.revocation_list()],
    ),
    "answers of other timestamp authorities": Parser(
        lambda octets: external.verified(octets, m.DIGEST, m.NONCE, trust(), asked()),
        ("external.verified",),
        lambda: [m.timestamp_reply()],
    ),
    "imported certificates": Parser(
        lambda octets: imported.examine(
            imported.read_certificates([octets, m.chain()[1]]), m.spki(), m.NOW
        ),
        ("imported.read_certificates", "imported.examine"),
        lambda: [m.chain()[0], m.pem(m.chain()[0]), b"".join(map(m.pem, m.chain()))],
    ),
    "PKCS #10": Parser(
        lambda octets: request.read_request(octets, house()),
        ("request.read_request",),
        lambda: [m.request(), m.pem(m.request(), "CERTIFICATE REQUEST")],
    ),
    "PKCS #12": Parser(
        lambda octets: pkcs12.read(octets, m.PASSWORD),
        ("pkcs12.read",),
        lambda: [m.key_file()],
        weight=60,
    ),
    "trust anchors": Parser(
        file(lambda where: path.read_anchors(where, "x")),
        ("path.read_anchors",),
        lambda: [m.pem(m.chain()[2]), m.chain()[2]],
    ),
    "NTP": Parser(
        lambda octets: ntp.read_answer(octets, 1, 1.8e9, 1.8e9 + 1),
        ("ntp.read_answer",),
        lambda: [bytes([0x24, 2, 6, 0xEC]) + bytes(20) + (1).to_bytes(8, "big") + bytes(16)],
        raises=(),
    ),
    "addresses": Parser(
        text(destination.destination),
        ("destination.destination",),
        lambda: [
            b"https://tsa.example.com:8443/path?query",
            b"http://[2001:db8::1]/",
            b"http://192.0.2.1",
        ],
    ),
    "requests to a signer": Parser(
        messages.read_request,
        ("messages.read_request",),
        lambda: [
            msgspec.msgpack.encode(["health"]),
            msgspec.msgpack.encode(["public-key", "ca.0"]),
        ],
    ),
    "answers of a signer": Parser(
        messages.read_answer, ("messages.read_answer",), lambda: [msgspec.msgpack.encode(["done"])]
    ),
    "greetings of a signer": Parser(
        messages.read_hello,
        ("messages.read_hello",),
        lambda: [msgspec.msgpack.encode(["hello", 1, b"b", []])],
    ),
    "references of keys": Parser(
        text(reference.read_reference),
        ("reference.read_reference", "reference.read_label", "reference.read_state"),
        lambda: [b"ca." + b"0" * 32],
    ),
    "labels in a token": Parser(
        text(reference.read_label), ("reference.read_label",), lambda: [b"hashseal"]
    ),
    "certificates and status data in a file": Parser(
        stored_in_file,
        ("material.readable",),
        lambda: [*m.chain(), m.status_response(), m.revocation_list()],
        raises=(),
    ),
    "a file to validate": Parser(
        file(lambda where: validation.validate(where, [m.pem(m.chain()[2])])),
        ("validation.validate",),
        lambda: [small_pdf()],
        weight=2,
    ),
}

INSIDE: Mapping[str, str] = {
    "service.recognise": "text that `tokens.read` has taken apart",
    "store.read_entitlements": "a column that the service wrote",
    "store.read_scopes": "a column that the service wrote",
    "token_store.read_kept": "columns that the service wrote",
    "journal._parsed": "the operator's own file; the verifier's tests change it in every way (I13)",
    "journal.read": "the operator's own file; see `journal._parsed`",
    "credentials._read": "reads a file that `imported` takes apart",
    "pki._read": "reads a file that `request` or `imported` takes apart",
    "authorities.parsed": "a certificate that the service issued, out of its database",
    "shell.read_moment": "an option of the operator's command",
    "importing.examine": "passes files on to `imported.examine`",
    "service.read_level": "one of four words, or refused",
    "sources.recognised": "certificates out of the database",
    "external.recognised": "certificates that were verified before",
    "folder.read_secret": "the operator's own file",
    "folder.read_pin": "the operator's own file",
    "filters.decode": "part of reading a PDF",
    "filters._decode_one": "part of reading a PDF",
    "reference.read_state": "a label that the key store wrote",
}
"""What looks like a parser of outside bytes, and why it is none."""
