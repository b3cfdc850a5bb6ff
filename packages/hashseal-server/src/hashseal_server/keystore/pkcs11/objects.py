"""Key objects of a token: how they are made, what they must say, how they sign.

No private object is ever changed after it was made: it stays sensitive, cannot be extracted or
copied, and does nothing but sign. These attributes are read back before a key signs.
"""

from __future__ import annotations

import ctypes
import secrets
import struct
from collections.abc import Mapping
from typing import Any, TypeAlias

import pkcs11
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass
from pkcs11.attributes import AttributeMapper
from pkcs11.mechanisms import MGF, Mechanism

from hashseal_core import der
from hashseal_core.algorithms import (
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_core.cms import verify_signature_value
from hashseal_core.errors import KeystoreRefused
from hashseal_server.keystore import encoding

PrivateObject: TypeAlias = Any
PublicObject: TypeAlias = Any
SecretObject: TypeAlias = Any
"""python-pkcs11's types do not say what the objects of a module can do."""

REQUIRED: Mapping[Attribute, bool] = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.MODIFIABLE: False,
    Attribute.COPYABLE: False,
    Attribute.SIGN: True,
    Attribute.SIGN_RECOVER: False,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
    Attribute.DERIVE: False,
}
"""What every private key says before it signs."""
BORN: Mapping[Attribute, bool] = {
    Attribute.TOKEN: True,
    Attribute.LOCAL: True,
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.NEVER_EXTRACTABLE: True,
}
"""What a key that lives in the token says besides."""
_PUBLIC = {Attribute.VERIFY: True, Attribute.ENCRYPT: False, Attribute.WRAP: False}
_HASHES = {
    DigestAlgorithm.SHA256: (Mechanism.SHA256, MGF.SHA256),
    DigestAlgorithm.SHA384: (Mechanism.SHA384, MGF.SHA384),
    DigestAlgorithm.SHA512: (Mechanism.SHA512, MGF.SHA512),
}
_kept: list[object] = []


def _packed(template: Mapping[Attribute, bool]) -> bytes:
    """CK_ATTRIBUTE[], the value of CKA_UNWRAP_TEMPLATE; what it points to is kept for ever."""
    octets = b""
    for attribute, value in template.items():
        buffer = ctypes.create_string_buffer(bytes((value,)), 1)
        _kept.append(buffer)
        octets += struct.pack("@LPL", int(attribute), ctypes.addressof(buffer), 1)
    return octets


def _mapper() -> AttributeMapper:
    made = AttributeMapper()
    made.register_handler(Attribute.UNWRAP_TEMPLATE, _packed, bytes)
    return made


MAPPER = _mapper()
"""Turns attributes into octets; python-pkcs11 does not know those that hold a template."""


def key_pair(
    session: pkcs11.Session,
    algorithm: KeyAlgorithm,
    *,
    store: bool,
    identifier: bytes,
    label: str,
    private: Mapping[Attribute, Any],
    public: Mapping[Attribute, Any],
) -> tuple[PublicObject, PrivateObject]:
    """Make a pair of objects with these attributes."""
    given: dict[str, Any] = {
        "store": store,
        "id": identifier,
        "label": label,
        "capabilities": MechanismFlag.SIGN,
        "private_template": dict(private),
        "public_template": {**_PUBLIC, **public},
    }
    if algorithm.is_rsa:
        size = int(algorithm.value.split("-")[1])
        return session.generate_keypair(KeyType.RSA, size, **given)
    parameters = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: der.oid(encoding.CURVES[algorithm])}, local=True
    )
    return parameters.generate_keypair(**given)


def signature(private: PrivateObject, to_be_signed: bytes, algorithm: SignatureAlgorithm) -> bytes:
    """A signature value as CMS and X.509 have it; the token gets the hash only.

    Raises:
        KeystoreRefused: as `digest_signature`.
    """
    digest = encoding.digest_of(algorithm.digest, to_be_signed)
    return digest_signature(private, digest, algorithm)


def digest_signature(private: PrivateObject, digest: bytes, algorithm: SignatureAlgorithm) -> bytes:
    """The same over a hash value.

    Raises:
        KeystoreRefused: the key is of another kind, or has no room for the salt. SoftHSM 2.6
            crashes when it is asked for the former.
    """
    if (private.key_type is KeyType.RSA) is (algorithm.scheme is SignatureScheme.ECDSA):
        raise KeystoreRefused("the key is not of the kind that the algorithm needs")
    if algorithm.scheme is SignatureScheme.ECDSA:
        return encoding.ecdsa_value(private.sign(digest, mechanism=Mechanism.ECDSA))
    if algorithm.scheme is SignatureScheme.RSA_PKCS1:
        info = encoding.digest_info(algorithm.digest, digest)
        value: bytes = private.sign(info, mechanism=Mechanism.RSA_PKCS)
        return value
    if algorithm.salt is not None:  # one as long as the digest fits into every key that we take
        encoding.require_salt(algorithm, _bits(private))
    salted: bytes = private.sign(
        digest,
        mechanism=Mechanism.RSA_PKCS_PSS,
        mechanism_param=(*_HASHES[algorithm.digest], algorithm.salt_length),
    )
    return salted


def _bits(private: PrivateObject) -> int:
    return int.from_bytes(private[Attribute.MODULUS], "big").bit_length()


def self_test(private: PrivateObject, spki: bytes) -> None:
    """Sign something random in every scheme that the key has, and verify it.

    Raises:
        FaultySignature: the two halves do not belong together, or the token does not sign rightly.
    """
    schemes = [SignatureScheme.ECDSA]
    if private.key_type is KeyType.RSA:
        schemes = [SignatureScheme.RSA_PKCS1, SignatureScheme.RSA_PSS]
    for scheme in schemes:
        algorithm = SignatureAlgorithm(scheme, DigestAlgorithm.SHA256)
        words = secrets.token_bytes(32)
        verify_signature_value(spki, algorithm, words, signature(private, words, algorithm))


def public_key_of(public: PublicObject) -> bytes:
    """SubjectPublicKeyInfo of a public object, DER."""
    if public.key_type is KeyType.RSA:
        return encoding.rsa_public_key(public[Attribute.MODULUS], public[Attribute.PUBLIC_EXPONENT])
    return encoding.ec_public_key(public[Attribute.EC_PARAMS], public[Attribute.EC_POINT])


def weak_attributes(key: PrivateObject, wanted: Mapping[Attribute, bool]) -> str:
    """The attributes that are not as they must be, by name; empty when all are.

    A capability that the module does not know is one that the key does not have.
    """
    wrong = []
    for attribute, value in wanted.items():
        try:
            found = bool(key[attribute])
        except pkcs11.AttributeTypeInvalid:
            found = False
        if found is not value:
            wrong.append(attribute.name)
    return ", ".join(wrong)


def every(session: pkcs11.Session, kind: ObjectClass) -> list[Any]:
    """All objects of a class."""
    return list(session.get_objects({Attribute.CLASS: kind}))


def is_shell(key: PublicObject | PrivateObject) -> bool:
    """An object with neither name nor number nor key.

    SoftHSM leaves such ones when it is killed before it has written them.
    """
    for attribute in (Attribute.ID, Attribute.LABEL, Attribute.MODULUS, Attribute.EC_PARAMS):
        try:
            if key[attribute]:
                return False
        except pkcs11.AttributeTypeInvalid:
            continue
    return True


def objects(session: pkcs11.Session, kind: ObjectClass, identifier: bytes) -> list[Any]:
    """The objects of a class with this CKA_ID."""
    return list(session.get_objects({Attribute.CLASS: kind, Attribute.ID: identifier}))


def pair(session: pkcs11.Session, identifier: bytes) -> tuple[list[Any], list[Any]]:
    """The private and the public objects with this CKA_ID."""
    return (
        objects(session, ObjectClass.PRIVATE_KEY, identifier),
        objects(session, ObjectClass.PUBLIC_KEY, identifier),
    )
