"""I9: serial numbers of certificates and timestamps come from a CSPRNG and are never used twice."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import text

from hashseal_core import tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm, KeyAlgorithm
from hashseal_core.errors import StorageUnavailable, TimestampUnavailable
from hashseal_server.main import operator
from hashseal_server.pki.issuance import new_serial
from hashseal_server.pki.model import LegalPerson
from hashseal_server.settings import Settings
from hashseal_server.web.observing import logger

DIGEST = Digest(DigestAlgorithm.SHA256, bytes(range(32)))
TOKENS, CERTIFICATES = 400, 12


def spread(serials: list[int], bits: int) -> None:
    """Each of the low bits is set in about half of the numbers: six standard deviations off fails."""
    for bit in range(bits):
        ones = sum(serial >> bit & 1 for serial in serials)
        assert abs(ones - len(serials) / 2) < 6 * (len(serials) ** 0.5) / 2, f"bit {bit}: {ones}"


def test_timestamps(service) -> None:
    async def scenario(api) -> None:
        unit = await api.operator.timestamps()
        again = await api.operator.timestamps()  # as after a restart
        serials = []
        for authority in (unit, again):
            for number in range(TOKENS):
                if number % 50 == 0:
                    await authority.ready()  # nothing else keeps the unit while this loop runs
                serials.append(tsp.parse_token(authority.token(DIGEST).der).content.serial)
        assert len(set(serials)) == 2 * TOKENS
        assert {serial.bit_length() for serial in serials} == {159}
        spread(serials, 158)

    service(scenario)


def test_certificates(service) -> None:
    async def scenario(api) -> None:
        for number in range(CERTIFICATES):
            subject = LegalPerson(f"Seal {number}", "Test Organisation", "NTRCH-1", "CH")
            await api.operator.authority.issue_signing(subject, algorithm=KeyAlgorithm.P256)
        async with api.operator.database.read() as connection:
            rows = (await connection.execute(text("SELECT serial, der FROM certificate"))).all()
        serials = [x509.load_der_x509_certificate(row.der).serial_number for row in rows]
        assert len(set(serials)) == len(rows) > CERTIFICATES
        assert [int(row.serial, 16) for row in rows] == serials
        # One bit keeps the length; 128 random ones follow (RFC 5280: 20 octets at most).
        assert {serial >> 128 for serial in serials} == {1}
        spread(serials, 128)

    service(scenario)


def test_a_number_that_comes_again_is_refused_before_anything_is_signed(
    service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(api) -> None:
        issue = api.operator.authority.issue_signing
        subject = LegalPerson("Seal", "Test Organisation", "NTRCH-1", "CH")
        first = await issue(subject, algorithm=KeyAlgorithm.P256)
        monkeypatch.setattr(secrets, "randbits", lambda bits: first.serial & ((1 << bits) - 1))
        signed: list[bytes] = []
        store = type(api.operator.keystore)
        real = store.sign
        monkeypatch.setattr(store, "sign", lambda *a: signed.append(a[2]) or real(*a))
        with pytest.raises(StorageUnavailable):
            await issue(subject, algorithm=KeyAlgorithm.P256)
        assert signed == []
        assert (await api.operator.authority.find(first.serial)).certificate == first.certificate

    service(scenario)


PROCESSES, EACH = 4, 250_000
OCTETS = 20
"""A timestamp's serial number has 159 bits, a certificate's 129."""


def test_a_million_over_several_processes(tmp_path: Path) -> None:
    """Half of them as a unit takes them for its tokens, half as the authority for certificates."""

    async def prepare() -> None:
        async with operator(Settings(data_dir=tmp_path / "service")) as opened:
            await opened.initialise()

    asyncio.run(prepare())
    crew = [
        subprocess.Popen(
            [sys.executable, __file__, str(tmp_path / "service"), str(tmp_path / f"{number}.bin")]
        )
        for number in range(PROCESSES)
    ]
    assert [one.wait(300) for one in crew] == [0] * PROCESSES
    whole = b"".join((tmp_path / f"{number}.bin").read_bytes() for number in range(PROCESSES))
    assert len(whole) == PROCESSES * EACH * OCTETS

    def taken() -> Iterator[bytes]:
        for at in range(0, len(whole), OCTETS):
            yield whole[at : at + OCTETS]

    assert len(set(taken())) == PROCESSES * EACH
    lengths = {int.from_bytes(one, "big").bit_length() for one in taken()}
    assert lengths == {159, 129}


def draw(folder: Path, out: Path) -> None:
    """One process of several: the numbers that it would sign, in a file."""

    async def scenario() -> list[int]:
        async with operator(Settings(data_dir=folder), migrate=False) as opened:
            unit = await opened.timestamps()
            await unit.begin(logger("text", "error"))
            tokens: list[int] = []
            while len(tokens) < EACH // 2:
                try:
                    tokens += [unit._begin(DIGEST, None)[1].serial for _ in range(2_500)]
                except TimestampUnavailable:  # its lease lasts for seconds, and this is no server
                    await asyncio.sleep(0.2)
                await unit.ready()
            return tokens + [new_serial() for _ in range(EACH // 2)]

    with out.open("wb") as file:
        for serial in asyncio.run(scenario()):
            file.write(serial.to_bytes(OCTETS, "big"))


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
