"""The standard security handler (ISO 32000-2, 7.6): RC4 and AES, revisions 2 to 6."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hashseal.pdf.objects import Dictionary, PdfObject, String, as_dictionary, as_integer
from hashseal_core.errors import PdfEncryptionUnsupported, PdfPasswordRequired

_PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
_BLOCK = 16


def _md5(octets: bytes) -> bytes:
    return hashlib.md5(octets, usedforsecurity=False).digest()


def _rc4(key: bytes, octets: bytes) -> bytes:
    if len(key) == 5:  # noqa: PLR2004 - 40 bits: the same key schedule as the key four times repeated
        key = key * 4 if len(key) * 4 <= 32 else key  # noqa: PLR2004
    return Cipher(ARC4(key), mode=None).encryptor().update(octets)


def _aes(key: bytes, vector: bytes, octets: bytes, *, encrypt: bool) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CBC(vector))
    return (cipher.encryptor() if encrypt else cipher.decryptor()).update(octets)


@dataclass(frozen=True, slots=True)
class Handler:
    """The file key and the two methods: `none`, `rc4`, `aes128`, `aes256`."""

    key: bytes
    strings: str
    streams: str

    def _object_key(self, number: int, generation: int, method: str) -> bytes:
        if method == "aes256":
            return self.key
        salt = (number & 0xFFFFFF).to_bytes(3, "little") + (generation & 0xFFFF).to_bytes(
            2, "little"
        )
        salt += b"sAlT" if method == "aes128" else b""
        return _md5(self.key + salt)[: min(len(self.key) + 5, 16)]

    def _encrypt(self, octets: bytes, number: int, generation: int, method: str) -> bytes:
        if method == "none":
            return octets
        key = self._object_key(number, generation, method)
        if method == "rc4":
            return _rc4(key, octets)
        pad = _BLOCK - len(octets) % _BLOCK
        # Derived, so that the same file is prepared again to the same octets; under the file's key
        # and over the very text, so that nobody foresees it and equal ones stand for equal texts.
        place = b"%d %d " % (number, generation)
        vector = hmac.digest(self.key, place + octets, "sha256")[:_BLOCK]
        return vector + _aes(key, vector, octets + bytes([pad]) * pad, encrypt=True)

    def _decrypt(self, octets: bytes, number: int, generation: int, method: str) -> bytes:
        if method == "none":
            return octets
        key = self._object_key(number, generation, method)
        if method == "rc4":
            return _rc4(key, octets)
        body = octets[_BLOCK : len(octets) - len(octets) % _BLOCK]
        if not body:
            return b""
        clear = _aes(key, octets[:_BLOCK], body, encrypt=False)
        return clear[: -clear[-1]] if 0 < clear[-1] <= _BLOCK else clear

    def encrypt_string(self, value: bytes, number: int, generation: int) -> bytes:
        """The octets of a string as they are written in this object."""
        return self._encrypt(value, number, generation, self.strings)

    def decrypt_string(self, value: bytes, number: int, generation: int) -> bytes:
        """The clear octets of a string of this object."""
        return self._decrypt(value, number, generation, self.strings)

    def encrypt_stream(self, value: bytes, number: int, generation: int) -> bytes:
        """The octets of a stream as they are written in this object."""
        return self._encrypt(value, number, generation, self.streams)

    def decrypt_stream(self, value: bytes, number: int, generation: int) -> bytes:
        """The clear octets of a stream of this object."""
        return self._decrypt(value, number, generation, self.streams)


def open_handler(
    encrypt: Dictionary,
    first_id: bytes,
    password: str | None,
    resolve: Callable[[PdfObject], PdfObject],
) -> Handler:
    """The handler that a password opens; the empty one is tried when none is given.

    Raises:
        PdfEncryptionUnsupported: another handler or an unknown method.
        PdfPasswordRequired: the password is missing or wrong.
    """
    entries = {key: resolve(value) for key, value in encrypt.items()}
    filters = as_dictionary(entries.get(b"CF"))
    entries[b"CF"] = {
        name: {key: resolve(value) for key, value in as_dictionary(resolve(described)).items()}
        for name, described in filters.items()
    }
    version, revision = as_integer(entries.get(b"V")), as_integer(entries.get(b"R"))
    if (
        entries.get(b"Filter") != b"Standard"
        or version not in {1, 2, 4, 5}
        or not 2 <= revision <= 6  # noqa: PLR2004
    ):
        raise PdfEncryptionUnsupported("the file is encrypted with another handler than a password")
    strings, streams = _methods(entries, version)
    if version == 5:  # noqa: PLR2004
        key = _key_256(entries, (password or "").encode()[:127], revision)
    else:
        key = _key_128(entries, first_id, (password or "").encode("latin-1", "replace"), revision)
    if key is None:
        raise PdfPasswordRequired(
            "the password is wrong" if password else "the file needs its password", field="password"
        )
    return Handler(key, strings, streams)


def _methods(entries: Dictionary, version: int) -> tuple[str, str]:
    if version < 4:  # noqa: PLR2004
        return "rc4", "rc4"
    filters = as_dictionary(entries.get(b"CF"))

    def method(name: PdfObject) -> str:
        if name is None or name == b"Identity":
            return "none"
        described = as_dictionary(filters.get(bytes(name))) if isinstance(name, bytes) else {}
        cipher = described.get(b"CFM")
        known = {b"V2": "rc4", b"AESV2": "aes128", b"AESV3": "aes256", b"None": "none"}
        if not isinstance(cipher, bytes) or bytes(cipher) not in known:
            raise PdfEncryptionUnsupported("the file is encrypted with an unknown method")
        return known[bytes(cipher)]

    return method(entries.get(b"StrF")), method(entries.get(b"StmF"))


def _octets(entries: Dictionary, name: bytes) -> bytes:
    value = entries.get(name)
    return value.value if isinstance(value, String) else b""


def _key_128(entries: Dictionary, first_id: bytes, password: bytes, revision: int) -> bytes | None:
    size = 5 if revision == 2 else min(16, max(5, as_integer(entries.get(b"Length"), 40) // 8))  # noqa: PLR2004
    if as_integer(entries.get(b"V")) == 4:  # noqa: PLR2004 - crypt filters of version 4 have 128 bits
        size = 16
    owner, user = _octets(entries, b"O")[:32], _octets(entries, b"U")[:32]
    found = _user_key(entries, first_id, password, revision, size, owner, user)
    if found is not None:
        return found
    seed = _md5((password + _PADDING)[:32])
    for _ in range(50 if revision > 2 else 0):  # noqa: PLR2004
        seed = _md5(seed[:size])
    opened = owner
    for round_ in range(19 if revision > 2 else 0, -1, -1):  # noqa: PLR2004
        opened = _rc4(bytes(octet ^ round_ for octet in seed[:size]), opened)
    return _user_key(entries, first_id, opened, revision, size, owner, user)


def _user_key(
    entries: Dictionary,
    first_id: bytes,
    password: bytes,
    revision: int,
    size: int,
    owner: bytes,
    user: bytes,
) -> bytes | None:
    permissions = (as_integer(entries.get(b"P")) & 0xFFFFFFFF).to_bytes(4, "little")
    seed = (password + _PADDING)[:32] + owner + permissions + first_id
    if revision >= 4 and entries.get(b"EncryptMetadata") is False:  # noqa: PLR2004
        seed += b"\xff\xff\xff\xff"
    key = _md5(seed)
    for _ in range(50 if revision > 2 else 0):  # noqa: PLR2004
        key = _md5(key[:size])
    key = key[:size]
    if revision == 2:  # noqa: PLR2004
        return key if _rc4(key, _PADDING) == user else None
    proof = _md5(_PADDING + first_id)
    for round_ in range(20):
        proof = _rc4(bytes(octet ^ round_ for octet in key), proof)
    return key if proof == user[:16] else None


def _key_256(entries: Dictionary, password: bytes, revision: int) -> bytes | None:
    owner, user = _octets(entries, b"O")[:48], _octets(entries, b"U")[:48]
    wrapped_user, wrapped_owner = _octets(entries, b"UE")[:32], _octets(entries, b"OE")[:32]
    if min(len(owner), len(user)) < 48 or min(len(wrapped_user), len(wrapped_owner)) < 32:  # noqa: PLR2004
        raise PdfEncryptionUnsupported("the encryption dictionary is incomplete")
    for stored, extra, wrapped in ((user, b"", wrapped_user), (owner, user, wrapped_owner)):
        if _hash(password, stored[32:40], extra, revision) == stored[:32]:
            middle = _hash(password, stored[40:48], extra, revision)
            return _aes(middle, bytes(_BLOCK), wrapped, encrypt=False)
    return None


def _hash(password: bytes, salt: bytes, extra: bytes, revision: int) -> bytes:
    found = hashlib.sha256(password + salt + extra).digest()
    if revision < 6:  # noqa: PLR2004
        return found
    round_ = 0
    while True:
        block = (password + found + extra) * 64
        encrypted = _aes(found[:16], found[16:32], block, encrypt=True)
        kind = ("sha256", "sha384", "sha512")[sum(encrypted[:16]) % 3]
        found = hashlib.new(kind, encrypted).digest()
        round_ += 1
        if round_ >= 64 and encrypted[-1] <= round_ - 32:  # noqa: PLR2004
            return found[:32]
