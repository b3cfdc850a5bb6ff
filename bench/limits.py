"""What no service can beat on this machine: raw operations through `cryptography`, by CPU time.

Two units come from here. U is the CPU time of one RSA-2048 signature; what a signature costs is told
in U, so that runs on different machines can be compared at all. A ceiling is the highest ratio that
"raw two-signature CPU ÷ all CPU" can take while every signature is verified before it leaves.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from table import Fact

ROUNDS = 3
MESSAGE = bytes(300)  # about as long as signed attributes are
SHA256 = hashes.SHA256()


@dataclass(frozen=True)
class Operations:
    """Signing with a key, and verifying what it signed with its public key."""

    sign: Callable[[], bytes]
    verify: Callable[[], None]


def _ec() -> Operations:
    key, how = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(SHA256)
    public, value = key.public_key(), key.sign(MESSAGE, how)
    return Operations(
        lambda: key.sign(MESSAGE, how), lambda: public.verify(value, MESSAGE, how)
    )  # fmt: skip


def _rsa(bits: int) -> Operations:
    key, how = rsa.generate_private_key(65537, bits), padding.PKCS1v15()
    public, value = key.public_key(), key.sign(MESSAGE, how, SHA256)
    return Operations(
        lambda: key.sign(MESSAGE, how, SHA256), lambda: public.verify(value, MESSAGE, how, SHA256)
    )  # fmt: skip


@functools.cache
def operations(algorithm: str) -> Operations:
    """The operations of a key of `P-256` or `RSA-<bits>`, made once in a process."""
    return _ec() if algorithm == "P-256" else _rsa(int(algorithm.removeprefix("RSA-")))


def raw_seconds(work: Callable[[], object], least: float = 0.3) -> float:
    """CPU seconds of one operation in a tight loop that lasts `least` CPU seconds."""
    count, began = 0, time.process_time()
    while time.process_time() - began < least:
        for _ in range(8):
            work()
        count += 8
    return (time.process_time() - began) / count


def unit() -> float:
    """U: CPU seconds of one RSA-2048 signature now; measure it in the round of what is compared."""
    return raw_seconds(operations("RSA-2048").sign)


def ceiling(signs: Sequence[float], verifies: Sequence[float]) -> float:
    """The raw signatures of a call ÷ (the same and their verification), in any unit of time."""
    return sum(signs) / (sum(signs) + sum(verifies))


def rows() -> Iterator[Fact]:
    """The unit, and the ceilings of the signing rows."""
    algorithms = ("RSA-2048", "RSA-3072", "P-256")
    signs: dict[str, list[float]] = {name: [] for name in algorithms}
    verifies: dict[str, list[float]] = {name: [] for name in algorithms}
    for _ in range(ROUNDS):
        for name in algorithms:
            signs[name].append(raw_seconds(operations(name).sign))
            verifies[name].append(raw_seconds(operations(name).verify))
    sign = {name: statistics.median(each) for name, each in signs.items()}
    verify = {name: statistics.median(each) for name, each in verifies.items()}
    for name in algorithms:
        yield Fact(
            f"one {name} signature", sign[name] / sign["RSA-2048"], "U",
            f"{1e6 * sign[name]:.1f} µs to sign, {1e6 * verify[name]:.1f} µs to verify",
        )  # fmt: skip
    for title, pair in (
        ("RSA-3072 + P-256 TSU", ("RSA-3072", "P-256")),
        ("P-256 + P-256 TSU, single and batch", ("P-256", "P-256")),
    ):
        most = ceiling([sign[name] for name in pair], [verify[name] for name in pair])
        yield Fact(
            f"ceiling, {title}", most, "at most",
            "two signatures ÷ (the same and their verification with the public key)",
        )  # fmt: skip
