"""One-time passwords of an authenticator (RFC 6238: SHA-1, six digits, thirty seconds)."""

from __future__ import annotations

import base64
import hmac
from urllib.parse import quote

SECRET_OCTETS = 20
_STEP_SECONDS = 30
_DIGITS = 6
_DRIFT = 1


def secret_text(randomness: bytes) -> str:
    """The secret as people type it and programs store it (base32)."""
    return base64.b32encode(randomness).decode().rstrip("=")


def address(secret: str, name: str) -> str:
    """What an authenticator reads from a QR code."""
    return f"otpauth://totp/Hashseal:{quote(name)}?secret={secret}&issuer=Hashseal"


def code_at(secret: str, step: int) -> str:
    """The code of one step (RFC 4226, 5.3)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    mac = hmac.digest(key, step.to_bytes(8, "big"), "sha1")
    start = mac[-1] & 15
    number = int.from_bytes(mac[start : start + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**_DIGITS:0{_DIGITS}}"


def step_of(secret: str, code: str, now: float, used: int | None) -> int | None:
    """The step whose code this is; None if there is none, or not a later one than was `used`."""
    current = int(now) // _STEP_SECONDS
    found = None
    for step in range(current - _DRIFT, current + _DRIFT + 1):
        same = hmac.compare_digest(code_at(secret, step).encode(), code.encode())
        if same and (used is None or step > used):
            found = step
    return found
