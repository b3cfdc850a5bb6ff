"""I12: OCSP never says good of a serial number that this authority did not issue."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from hashseal_server.pki.model import Planned, Role
from hashseal_server.pki.store import PkiStore

SUCCESSFUL = ocsp.OCSPResponseStatus.SUCCESSFUL
GOOD, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.UNKNOWN


def request(issuer: x509.Certificate, serial: int, *, name: bytes | None = None) -> bytes:
    """A request for any serial number of an issuer."""
    key = issuer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    built = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        hashlib.sha1(name or issuer.subject.public_bytes()).digest(),
        hashlib.sha1(key).digest(),
        serial,
        hashes.SHA1(),
    )
    return built.build().public_bytes(Encoding.DER)


def test_what_was_never_issued(service) -> None:
    async def scenario(api) -> None:
        authority = api.operator.authority

        async def asked(issuer: x509.Certificate, serial: int) -> ocsp.OCSPCertStatus:
            read = ocsp.load_der_ocsp_response(await authority.ocsp(request(issuer, serial)))
            assert read.response_status is SUCCESSFUL
            assert read.serial_number == serial
            return read.certificate_status

        issuing, root = [
            x509.load_der_x509_certificate((await api.http.get(f"/certs/{name}.cer")).content)
            for name in ("issuing", "root")
        ]
        seal = (await (await api.operator.seals()).all(api.account))[0]
        assert await asked(issuing, seal.serial) is GOOD
        assert await asked(root, issuing.serial_number) is GOOD
        choose = random.Random(12)
        never = [choose.getrandbits(choose.randint(1, 159)) or 1 for _ in range(60)]
        never += [seal.serial + 1, seal.serial - 1, seal.serial >> 1, 1, (1 << 159) - 1]
        # Issued, but by the other authority.
        never += [issuing.serial_number, root.serial_number]
        for serial in never:
            assert await asked(issuing, serial) is UNKNOWN, serial
        assert await asked(root, seal.serial) is UNKNOWN

        # Planned and never signed: what a crash leaves, and what the linter refused.
        store = PkiStore(api.operator.database)
        planned, void = 3 << 127, (3 << 127) + 1
        for serial in (planned, void):
            at = datetime.now(UTC)
            await store.plan(Planned(serial, Role.TSU, "issuing", "nokey", "CN=Nobody", at))
        await store.void(void)
        for serial in (planned, void):
            assert await asked(issuing, serial) is UNKNOWN

    service(scenario)


def test_another_authority_is_not_answered_for(service) -> None:
    async def scenario(api) -> None:
        issuing = x509.load_der_x509_certificate((await api.http.get("/certs/issuing.cer")).content)
        seal = (await (await api.operator.seals()).all(api.account))[0]
        asked = request(issuing, seal.serial, name=b"another issuer")
        read = ocsp.load_der_ocsp_response(await api.operator.authority.ocsp(asked))
        assert read.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED

    service(scenario)
