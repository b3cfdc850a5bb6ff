"""Timestamping units and leases for simulations: real certificates, a database in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hashseal_server.pki.model import Role
from hashseal_server.pki.profiles import PROFILES, Policies, Urls, builder
from hashseal_server.tsa.store import Claim, Lease

BORN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Unit:
    """A unit as the authority knows it."""

    serial: int
    key: str
    chain: tuple[bytes, ...]


@cache
def unit(number: int) -> Unit:
    """The unit of this number, its certificate valid from 2026 on."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"TEST TSU {number}")])
    built = builder(
        PROFILES[Role.TSU],
        subject=name,
        public_key=key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        serial=number + 1,
        issuer=None,
        issuer_label="issuing",
        urls=Urls("http://pki.example.com"),
        policies=Policies("1.2.3.4", "1.2.3.5", "1.2.3.6"),
        not_before=BORN,
    )
    der = built.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    return Unit(number + 1, f"key-{number}", (der, b"root"))


class MemoryLeases:
    """What `hashseal_server.tsa.store.LeaseStore` does, with a clock of the test's own.

    `clock` gives the database's time in milliseconds; `failing` makes every call fail.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.rows: dict[int, Lease] = {}
        self.epochs: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self.failing: Exception | None = None

    def snapshot(self) -> tuple[dict[int, Lease], dict[int, int], dict[int, int]]:
        """Everything that is recorded, to be put back later."""
        return dict(self.rows), dict(self.epochs), dict(self.ends)

    def restore(self, kept: tuple[dict[int, Lease], dict[int, int], dict[int, int]]) -> None:
        """Put back what was recorded before."""
        self.rows, self.epochs, self.ends = (dict(one) for one in kept)  # type: ignore[assignment]

    def leave(self, serial: int) -> None:
        """Let nobody take the unit any more."""
        self.rows[serial] = replace(self._row(serial), left=True)

    def _row(self, serial: int) -> Lease:
        if self.failing is not None:
            raise self.failing
        found = self.rows.get(serial, Lease(serial))
        return replace(found, remaining=max(0, self.ends.get(serial, 0) - self._clock()))

    async def all(self, serials: Sequence[int]) -> dict[int, Lease]:
        """As the store does."""
        return {serial: self._row(serial) for serial in serials}

    async def take(
        self, serial: int, owner: str, *, now: int, mark: int, lasting: int
    ) -> Claim | None:
        """As the store does."""
        row = self._row(serial)
        if row.left or row.mark > now or (row.owner is not None and row.remaining > 0):
            return None
        self.epochs[serial] = self.epochs.get(serial, 0) + 1
        self.ends[serial] = self._clock() + lasting
        self.rows[serial] = Lease(serial, owner, lasting, mark, left=False)
        return Claim(serial, owner, self.epochs[serial])

    async def keep(self, claim: Claim, *, mark: int, lasting: int) -> Lease | None:
        """As the store does."""
        row = self._row(claim.serial)
        if row.owner != claim.owner or self.epochs.get(claim.serial) != claim.epoch:
            return None
        self.ends[claim.serial] = self._clock() + lasting
        kept = replace(row, mark=max(mark, row.mark), remaining=lasting)
        self.rows[claim.serial] = kept
        return kept

    async def give_back(self, claim: Claim, *, mark: int) -> None:
        """As the store does."""
        row = self._row(claim.serial)
        if row.owner == claim.owner and self.epochs.get(claim.serial) == claim.epoch:
            self.ends[claim.serial] = 0
            self.rows[claim.serial] = replace(row, owner=None, remaining=0, mark=mark)


class MemoryCopies:
    """The copies of the marks in one data folder."""

    def __init__(self) -> None:
        self.marks: dict[int, int] = {}

    def of(self, serial: int) -> int:
        """As `Marks` does."""
        return self.marks.get(serial, 0)

    def keep(self, serial: int, mark: int) -> None:
        """As `Marks` does."""
        self.marks[serial] = max(mark, self.of(serial))

    def end(self, serial: int, mark: int) -> None:
        """As `Marks` does."""
        self.marks[serial] = mark
