"""Hostile requests to the endpoints that sign: a table of kinds, and every request made from it.

A new endpoint that signs needs one line in `ENDPOINTS` (or `CSC`, where refusals have the form of the
CSC API): its path and which fields its body has.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

CANARY = "canary-4e19"
TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Hostile:
    """One request. `headers` replace the usual ones; None takes one away."""

    label: str
    body: bytes
    headers: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint that signs.

    Attributes:
        base: a body that is accepted, but for the ids, which the test puts in.
        hashes: the field that holds hashes, or one hash.
        algorithm: the field that names their algorithm.
        optional: fields that may be left out.
        around: what stands before and after, when the fields are those of an object inside.
        takes: labels of requests that this endpoint takes as they are, on purpose.
    """

    path: str
    base: Mapping[str, Any]
    hashes: str
    algorithm: str = "hash_algorithm"
    optional: frozenset[str] = frozenset({"hash_algorithm", "level"})
    around: tuple[str, str] = ("", "")
    takes: re.Pattern[str] = re.compile("(?!)")

    def body(self, inner: bytes, ids: Mapping[str, str]) -> bytes:
        """A body in what stands around it; `ids` are put where that names them."""
        before, after = (filled(one, ids) for one in self.around)
        return before.encode() + inner + after.encode()


def filled(value: Any, ids: Mapping[str, str]) -> Any:
    """A value with real ids in it."""
    if isinstance(value, str):
        return re.sub("<(.+?)>", lambda found: ids.get(found[1], found[0]), value)
    return value


def digest(text: str, algorithm: str = "sha256") -> bytes:
    return hashlib.new(algorithm, text.encode()).digest()


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


GOOD = b64(digest("a prepared document"))
ENDPOINTS = (
    Endpoint(
        "/v1/documents/sign",
        {"seal_id": "…", "hash_algorithm": "SHA-256", "level": "B-T", "hashes": [GOOD]},
        "hashes",
    ),
    Endpoint(
        "/v1/timestamps",
        {"signature_id": "…", "hash_algorithm": "SHA-256", "hash": GOOD},
        "hash",
    ),
)

_OID = "2.16.840.1.101.3.4.2.1"
_ECDSA = "1.2.840.10045.4.3.2"
_OPTIONAL = frozenset({"hashAlgorithmOID", "hashAlgo", "conformance_level", "numSignatures"})
_HASHES = {"hashes": [GOOD], "hashAlgorithmOID": _OID}
_TAKEN = re.compile(
    # Fields that nobody knows are passed over (CSC API 2.0.0.2, 7.11), if no document is in them.
    r"field .*|key None"
    # The same thing twice is once.
    r"|\w+ twice|\w+ twice, hidden"
    # What may be left out may be null, and one hash need not be in a list.
    r"|(hashAlgorithmOID|hashAlgo|conformance_level|numSignatures) is null|a text for the list"
    # SHA-256 under its right name.
    r"|algorithm '2\.16\.840\.1\.101\.3\.4\.2\.1'"
)
CSC = (
    Endpoint(
        "signatures/signDoc",
        {"signature_format": "P", "conformance_level": "B-T", "signAlgo": _ECDSA, **_HASHES},
        "hashes",
        "hashAlgorithmOID",
        _OPTIONAL,
        ('{"credentialID": "<seal>", "SAD": "<seal SAD>", "documentDigests": [', "]}"),
        _TAKEN,
    ),
    Endpoint(
        "signatures/signHash",
        {"credentialID": "<raw>", "SAD": "<raw SAD>", "signAlgo": _ECDSA, **_HASHES},
        "hashes",
        "hashAlgorithmOID",
        _OPTIONAL,
        takes=_TAKEN,
    ),
    Endpoint(
        "signatures/timestamp",
        {"hash": GOOD, "hashAlgo": _OID},
        "hash",
        "hashAlgo",
        _OPTIONAL,
        takes=_TAKEN,
    ),
    Endpoint(
        "credentials/authorize",
        {"credentialID": "<seal>", "numSignatures": 1, **_HASHES},
        "hashes",
        "hashAlgorithmOID",
        _OPTIONAL,
        # It signs nothing, so it has no idempotency key.
        takes=re.compile(f"{_TAKEN.pattern}|key .*", re.DOTALL),
    ),
)
"""Methods of the CSC API that sign, or allow to; paths are those behind `/csc/v2/`."""

VALUES: Mapping[str, str] = {
    "null": "null", "true": "true", "false": "false", "zero": "0", "minus": "-1",
    "fraction": "1.5", "tiny": "1e-400", "huge": "1e400", "digits": "9" * 400,
    "many digits": "1" * 5000, "minus zero": "-0", "2^63": "9223372036854775808",
    "NaN": "NaN", "Infinity": "Infinity", "-Infinity": "-Infinity", "octal": "010",
    "hexadecimal": "0x10", "underscore": "1_000", "plus": "+1", "point": ".5", "point after": "5.",
    "undefined": "undefined", "None": "None", "single quotes": "'x'", "no quotes": "x",
    "empty object": "{}", "object": '{"a": 1}', "prototype": '{"__proto__": {"x": 1}}',
    "empty list in list": "[[]]", "list of null": "[null]", "list of numbers": "[1, 2]",
    "list of lists": f'[["{GOOD}"]]', "list of objects": f'[{{"hash": "{GOOD}"}}]',
    "empty text": '""', "space": '" "', "NUL": '"\\u0000"', "NUL in text": '"a\\u0000b"',
    "raw NUL": '"a\x00b"', "raw line feed": '"a\nb"', "raw tab": '"a\tb"',
    "lone surrogate": '"\\ud800"', "low surrogate": '"\\udc00"', "surrogates swapped":
    '"\\udc00\\ud800"', "bad escape": '"\\x41"', "cut escape": '"\\u00"', "open text": '"abc',
    "right to left": '"\\u202etxet"', "zero width": '"a\\u200bb"', "long text": f'"{"x" * 5000}"',
    "very long text": f'"{"x" * 200_000}"', "emoji": '"\\ud83d\\ude00"', "path": '"../../etc/passwd"',
    "SQL": '"\' OR 1=1 --"', "format": '"%s%n{0}${jndi:ldap://x}"', "tags": '"<script>x</script>"',
    "deep list": "[" * 600 + "]" * 600, "deep object": '{"a":' * 600 + "1" + "}" * 600,
    "deeper list": "[" * 90_000 + "]" * 90_000, "open lists": "[" * 150_000,
}  # fmt: skip
"""What stands where another type belongs, as JSON text (or what is not JSON)."""

WRONG_HASHES: Mapping[str, str] = {
    "hexadecimal": digest("x").hex(),
    "HEXADECIMAL": digest("x").hex().upper(),
    "hexadecimal of SHA-384": digest("x", "sha384").hex(),
    "base64 of hexadecimal": b64(digest("x").hex().encode()),
    "without padding": GOOD.rstrip("="),
    "too much padding": GOOD + "=",
    "only padding": "====",
    "padding first": "=" + GOOD[:-1],
    "padding inside": GOOD[:20] + "==" + GOOD[22:],
    "URL-safe": base64.urlsafe_b64encode(bytes([251, 255]) * 16).decode(),
    "bits left over": GOOD[:-2] + chr(ord(GOOD[-2]) + 1) + "=",
    "line feed at the end": GOOD + "\n",
    "CR LF inside": GOOD[:20] + "\r\n" + GOOD[20:],
    "spaces": " " + GOOD,
    "space at the end": GOOD + " ",
    "tab": GOOD[:4] + "\t" + GOOD[4:],
    "quoted": f'"{GOOD}"',
    "data URI": f"data:application/octet-stream;base64,{GOOD}",
    "percent-encoded": GOOD.replace("=", "%3D"),
    "named": f"sha256:{GOOD}",
    "SRI": f"sha256-{GOOD}",
    "colons": digest("x").hex(":"),
    "base32": base64.b32encode(digest("x")).decode(),
    "base85": base64.b85encode(digest("x")).decode(),
    "full-width": GOOD.translate({ord(c): ord(c) + 0xFEE0 for c in GOOD}),
    "Cyrillic letters": GOOD.replace("A", "\u0410").replace("e", "\u0435") + "\u0430",
    "NUL at the end": GOOD + "\0",
    "NUL inside": GOOD[:10] + "\0" + GOOD[11:],
    "text": "not a hash at all",
    "empty": "",
    "all zero": b64(bytes(32)),
    "digest of nothing": b64(digest("")),
    "SHA-1": b64(digest("x", "sha1")),
    "MD5": b64(digest("x", "md5")),
    "SHA-224": b64(digest("x", "sha224")),
    "SHA-384": b64(digest("x", "sha384")),
    "SHA-512": b64(digest("x", "sha512")),
    "twice": b64(digest("x") * 2),
    "DigestInfo": b64(bytes.fromhex("3031300d060960864801650304020105000420") + digest("x")),
    "signed attributes": b64(bytes.fromhex("3181f0") + digest("x")),
    "PDF": b64(b"%PDF-1.7\n" + CANARY.encode()),
    "PDF as long as a hash of SHA-512": b64((b"%PDF-1.7\n" + CANARY.encode()).ljust(64)),
    "plain PDF": "%PDF-1.7",
    **{f"{n} octets": b64(bytes(range(1, n + 1))) for n in range(1, 66) if n != 32},
}
"""What stands where a SHA-256 in base64 belongs."""

FIELDS = (
    "document", "documents", "pdf", "file", "files", "content", "contents", "data", "payload",
    "body", "raw", "tbs", "to_be_signed", "signed_attributes", "signedAttributes", "attributes",
    "digest", "digests", "documentDigests", "hashAlgo", "signAlgo", "key", "private_key", "pin",
    "account", "account_id", "token", "admin", "callback", "url", "name", "Hashes", "HASHES",
    "hashes ", "seal-id", "sealId", "", "$ref", "__proto__", "constructor",
)  # fmt: skip
"""Fields that no operation has: that is where a document would hide."""

MEDIA_TYPES = (
    None, "", "text/plain", "text/json", "application/jsonp", "application/x-json", "json",
    "application/xml", "application/cbor", "application/msgpack", "application/x-ndjson",
    "application/json-seq", "application/merge-patch+json", "application/javascript",
    "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=x",
    "multipart/mixed; boundary=x", "application/pdf", "APPLICATION/PDF", "application/octet-stream",
    "application/pdf; application/json", "image/png", "*/*", "application/*", "application/json/x",
    "application/timestamp-query", "text/html; charset=utf-8",
)  # fmt: skip

KEYS = (
    None, "", " ", "a b", "a\tb", "a/b", "a.b", "a:b", "ä", "a" * 65, "a" * 5000, "key,key",
    "'; DROP TABLE calls; --", "../../x", "%00", "a\x0bb",
)  # fmt: skip
"""Idempotency keys that are none."""

AUTHORIZATIONS = (
    None, "", "Bearer", "Bearer ", "bearer  ", "Basic dXNlcjpwYXNz", "Digest x", "Bearer x",
    "Bearer null", "Bearer undefined", "Bearer hs_", "Bearer hs_x_y",
    "Bearer hs_0000000000000000_" + "0" * 56, "Bearer " + "a" * 8000, "Token x", "hs_x",
    "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.", "Bearer ' OR 1=1 --",
)  # fmt: skip
"""Authorization headers that are nobody's."""


def every(endpoint: Endpoint, base: Mapping[str, Any]) -> Iterator[Hostile]:
    """Every hostile request to one endpoint; `base` is its body with real ids."""
    return (one for one in _every(endpoint, base) if not endpoint.takes.fullmatch(one.label))


def _every(endpoint: Endpoint, base: Mapping[str, Any]) -> Iterator[Hostile]:
    yield from _values(endpoint, base)
    yield from _hashes(endpoint, base)
    yield from _fields(base)
    yield from _json(base)
    yield from _octets(base)
    good = json.dumps(base).encode()
    for media_type in MEDIA_TYPES:
        yield Hostile(f"as {media_type!r}", good, {"content-type": media_type})
    for key in KEYS:
        yield Hostile(f"key {key!r:.30}", good, {"idempotency-key": key})
    for one in AUTHORIZATIONS:
        yield Hostile(f"authorization {one!r:.40}", good, {"authorization": one})


def _values(endpoint: Endpoint, base: Mapping[str, Any]) -> Iterator[Hostile]:
    for name in base:
        for label, text in VALUES.items():
            rest = json.dumps({key: value for key, value in base.items() if key != name})
            body = f'{rest[:-1]}, "{name}": {text}}}'
            yield Hostile(f"{name} is {label}", body.encode("utf-8", "surrogatepass"))
        left = {key: value for key, value in base.items() if key != name}
        if name not in endpoint.optional:
            yield Hostile(f"no {name}", json.dumps(left).encode())


def _hashes(endpoint: Endpoint, base: Mapping[str, Any]) -> Iterator[Hostile]:
    several = isinstance(base[endpoint.hashes], list)
    for label, text in WRONG_HASHES.items():
        value: Any = [text] if several else text
        yield Hostile(f"hash: {label}", json.dumps({**base, endpoint.hashes: value}).encode())
        if several and not label.endswith("octets"):
            value = [GOOD, b64(digest("y")), text]
            body = json.dumps({**base, endpoint.hashes: value}).encode()
            yield Hostile(f"the last hash: {label}", body)
    if several:
        many = [b64(digest(f"{n}")) for n in range(1001)]
        for label, value in (
            ("1,001 hashes", many),
            ("5,000 hashes", [GOOD] * 5000),
            ("no hash", []),
            ("a text for the list", GOOD),
            ("an object for the list", {"0": GOOD}),
        ):
            yield Hostile(label, json.dumps({**base, endpoint.hashes: value}).encode())
    for name in ("SHA-1", "SHA1", "MD5", "SHA-224", "sha-256", "SHA256", "SHA-512", "SHA-384",
                 "SHA3-256", "2.16.840.1.101.3.4.2.1", "none", "SHA-256\0", " SHA-256"):  # fmt: skip
        yield Hostile(
            f"algorithm {name!r}", json.dumps({**base, endpoint.algorithm: name}).encode()
        )
    for name in ("SHA-256", "SHA-384", "SHA-512"):
        size = {"SHA-256": 32, "SHA-384": 48, "SHA-512": 64}[name]
        for octets in (bytes(size), digest("", name.replace("-", "").lower())):
            value = [b64(octets)] if several else b64(octets)
            body = {**base, endpoint.algorithm: name, endpoint.hashes: value}
            yield Hostile(f"nothing by {name}", json.dumps(body).encode())


def _fields(base: Mapping[str, Any]) -> Iterator[Hostile]:
    document = b64(b"%PDF-1.7\n" + CANARY.encode())
    for name in FIELDS:
        for label, value in (("text", CANARY), ("null", None), ("list", [CANARY])):
            body = json.dumps({**base, name: value}).encode()
            yield Hostile(f"field {name!r} with {label}", body)
    for name in FIELDS[:16]:
        yield Hostile(f"PDF in {name}", json.dumps({**base, name: document}).encode())


def _json(base: Mapping[str, Any]) -> Iterator[Hostile]:
    good = json.dumps(base)
    for name, value in base.items():
        again = json.dumps(value)
        other = json.dumps("x" if isinstance(value, str) else [b64(digest("other"))])
        yield Hostile(f"{name} twice", f'{good[:-1]}, "{name}": {again}}}'.encode())
        yield Hostile(f"{name} twice, differently", f'{good[:-1]}, "{name}": {other}}}'.encode())
        yield Hostile(f"{name} twice, first", f'{{"{name}": {other}, {good[1:]}'.encode())
        hidden = f"\\u{ord(name[0]):04x}{name[1:]}"
        yield Hostile(f"{name} twice, hidden", f'{good[:-1]}, "{hidden}": {again}}}'.encode())
    for label, text in {
        "trailing comma": f"{good[:-1]},}}",
        "comment": f"/* x */ {good}",
        "line comment": f"// x\n{good}",
        "comment inside": f"{{/**/{good[1:]}",
        "two objects": good + good,
        "two lines": f"{good}\n{good}",
        "garbage after": f"{good} x",
        "a bracket more": f"{good}}}",
        "a NUL after": f"{good}\0",
        "a NUL before": f"\0{good}",
        "in a list": f"[{good}]",
        "in a text": json.dumps(good),
        "in an object": f'{{"request": {good}}}',
        "JSONP": f"callback({good})",
        "prefix": f")]}}',\n{good}",
        "single quotes": good.replace('"', "'"),
        "form feed": f"\f{good}",
        "no-break space": f"\u00a0{good}",
        "vertical tab": f"\v{good}",
        "a form": "&".join(f"{name}=x" for name in base),
        "XML": "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
        "YAML": "\n".join(f"{name}: x" for name in base),
        "nothing": "",
        "spaces": "   ",
        "only null": "null",
        "only true": "true",
        "only a number": "42",
        "only a text": '"x"',
        "only a list": "[]",
        "only an object": "{}",
        "an open object": "{",
        "a record separator": f"\x1e{good}\n",
    }.items():
        yield Hostile(label, text.encode())


def _octets(base: Mapping[str, Any]) -> Iterator[Hostile]:
    good = json.dumps(base)
    octets = good.encode()
    for codec in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-7",
                  "cp037"):  # fmt: skip
        encoded = good.encode(codec)
        if encoded != octets:
            yield Hostile(f"in {codec}", encoded)
    inside = octets.index(b":") + 3
    for label, raw in {
        "latin-1": b"\xe9", "overlong": b"\xc0\xaf", "overlong NUL": b"\xc0\x80",
        "surrogate in UTF-8": b"\xed\xa0\x80", "beyond Unicode": b"\xf5\x80\x80\x80",
        "cut sequence": b"\xe2\x82", "continuation": b"\x80", "FF": b"\xff", "FE": b"\xfe\xff",
    }.items():  # fmt: skip
        yield Hostile(f"{label} in a text", octets[:inside] + raw + octets[inside:])
        yield Hostile(f"{label} before", raw + octets)
        yield Hostile(f"{label} after", octets + raw)
    for part in range(1, 24):
        yield Hostile(f"cut at {part}/24", octets[: len(octets) * part // 24])
    for label, packed in (
        ("gzip", gzip.compress(octets)),
        ("deflate", zlib.compress(octets)),
        ("a bomb", gzip.compress(bytes(10_000_000))),
    ):
        yield Hostile(label, packed)
        yield Hostile(f"{label}, said so", packed, {"content-encoding": label.partition(" ")[0]})
    for size in (256 * 1024 + 1, 300_000, 1_000_000):
        yield Hostile(f"{size} octets with spaces", octets.ljust(size))
        yield Hostile(f"{size} octets of a list", b"[" + b"1," * (size // 2) + b"1]")
    yield Hostile("random", hashlib.shake_256(b"hostile").digest(4096))
    yield Hostile("DER", bytes.fromhex("308006092a864886f70d010702a0800000"))
    yield Hostile("a PDF", b"%PDF-1.7\n" + CANARY.encode())
    yield Hostile("a ZIP", b"PK\x03\x04" + bytes(60))
