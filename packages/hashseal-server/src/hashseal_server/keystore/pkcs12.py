"""PKCS#12: a key that was made elsewhere, with its certificates (RFC 7292). Pure."""

from __future__ import annotations

import warnings

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from hashseal_core.errors import InvalidValue
from hashseal_server.keystore.software import PrivateKey

LARGEST = 256 * 1024


def read(content: bytes, password: bytes) -> tuple[PrivateKey, tuple[bytes, ...]]:
    """The private key, and every certificate beside it (DER).

    Raises:
        InvalidValue: another password, no key, a key that does not sign, or not such a file.
    """
    if len(content) > LARGEST:
        raise InvalidValue(f"a PKCS#12 file has {LARGEST // 1024} KiB at most", field="file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # BER, as some programs write it
            private, leaf, more = pkcs12.load_key_and_certificates(content, password)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidValue(
            "the file cannot be opened: another password, or not PKCS#12", field="file"
        ) from error
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise InvalidValue("the file holds no RSA or elliptic-curve key", field="file")
    found = [one.public_bytes(Encoding.DER) for one in (leaf, *more) if one is not None]
    return private, tuple(dict.fromkeys(found))
