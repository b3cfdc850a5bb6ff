"""I9: serial numbers of certificates and timestamps come from a CSPRNG and are never used twice."""

from __future__ import annotations

import secrets

import pytest
from cryptography import x509
from sqlalchemy import text

from hashseal_core import tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm, KeyAlgorithm
from hashseal_core.errors import StorageUnavailable
from hashseal_server.pki.model import LegalPerson

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
        serials = [tsp.parse_token(unit.token(DIGEST).der).content.serial for _ in range(TOKENS)]
        again = await api.operator.timestamps()  # as after a restart
        serials += [tsp.parse_token(again.token(DIGEST).der).content.serial for _ in range(TOKENS)]
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
