"""The timestamp authority as its clients see it: judged by rfc3161-client, OpenSSL and asn1crypto."""

from __future__ import annotations

import hashlib
import secrets
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import rfc3161_client
from asn1crypto import core as asn1_core
from asn1crypto import tsp as asn1_tsp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hashseal_core import der, tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import FaultySignature, KeystoreRefused, KeystoreUnavailable
from hashseal_server.keystore import verified

HEADERS = {"content-type": "application/timestamp-query"}
MESSAGE = b"what is stamped"
ALGORITHMS = (DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512)
NONCES = (None, 0, 1, 127, 128, 2**63, 2**64 - 1, 2**159, 2**512 - 1)


def digest(algorithm: DigestAlgorithm = DigestAlgorithm.SHA256) -> Digest:
    return Digest(algorithm, hashlib.new(algorithm.hashlib_name, MESSAGE).digest())


async def ask(api, query: bytes) -> bytes:
    answer = await api.http.post("/tsa", content=query, headers=HEADERS)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/timestamp-reply"
    return answer.content


def fail_info(response: bytes) -> set[str]:
    """The failInfo of a refusal, by its name, as asn1crypto reads it."""
    (only,) = asn1_core.SequenceOf.load(response, strict=True, spec=asn1_core.Any)
    status = asn1_tsp.PKIStatusInfo.load(only.dump(), strict=True)  # and no token
    assert status["status"].native == "rejection"
    assert status["status_string"].native
    return set(status["fail_info"].native)


async def certificates(api, folder: Path) -> tuple[bytes, bytes, list[str]]:
    """Root and unit as DER, and the arguments that make OpenSSL trust them."""
    unit = (await api.operator.authority.units())[0]
    paths = []
    for name, one in zip(("tsu", "issuing", "root"), unit.chain, strict=True):
        path = folder / f"{name}.pem"
        path.write_bytes(x509.load_der_x509_certificate(one).public_bytes(Encoding.PEM))
        paths.append(str(path))
    bundle = folder / "bundle.pem"
    bundle.write_text("".join(Path(path).read_text() for path in paths[:2]))
    return unit.chain[2], unit.chain[0], ["-CAfile", paths[2], "-untrusted", str(bundle)]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_token_is_accepted(service, tmp_path: Path, algorithm: DigestAlgorithm) -> None:
    async def scenario(api) -> None:
        root, unit, trust = await certificates(api, tmp_path)
        policy = api.operator.settings.policies[1]
        size = await api.operator.timestamping.token_size()
        for number, nonce in enumerate(NONCES):
            for wanted in (True, False):
                query = tsp.build_request(
                    digest(algorithm),
                    nonce=nonce,
                    certificate_wanted=wanted,
                    policy=policy if number % 2 else None,
                )
                began = datetime.now(UTC)
                response = await ask(api, query)
                token = asn1_tsp.TimeStampResp.load(response, strict=True)["time_stamp_token"]
                assert len(token.dump()) <= size
                info = token["content"]["encap_content_info"]["content"].parsed
                assert info["nonce"].native == nonce
                assert info["policy"].native == policy
                assert info["accuracy"]["seconds"].native == 1
                assert not info["ordering"].native
                assert 1 << 158 <= info["serial_number"].native < 1 << 159
                stated = info["gen_time"].native
                second = timedelta(seconds=1)
                assert began - second < stated < datetime.now(UTC) + second
                names = ("query.tsq", "response.tsr")
                for name, octets in zip(names, (query, response), strict=True):
                    (tmp_path / name).write_bytes(octets)
                openssl_accepts(tmp_path, trust)
                if wanted:
                    strict(root, response, nonce, algorithm)
        assert unit in (await ask(api, tsp.build_request(digest())))

    service(scenario)


def openssl_accepts(folder: Path, trust: list[str]) -> None:
    """`openssl ts -verify` takes the response to the query."""
    judged = subprocess.run(
        [
            *("openssl", "ts", "-verify", "-in", str(folder / "response.tsr")),
            *("-queryfile", str(folder / "query.tsq"), *trust),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Verification: OK" in judged.stdout, judged.stderr


def strict(root: bytes, response: bytes, nonce: int | None, algorithm: DigestAlgorithm) -> None:
    """rfc3161-client takes it, and takes no other message or nonce for it."""
    parsed = rfc3161_client.decode_timestamp_response(response)

    def verifier(expected: int | None) -> rfc3161_client.Verifier:
        builder = rfc3161_client.VerifierBuilder().add_root_certificate(
            x509.load_der_x509_certificate(root)
        )
        return (builder if expected is None else builder.nonce(expected)).build()

    hashed = hashlib.new(algorithm.hashlib_name, MESSAGE).digest()
    assert verifier(nonce).verify(parsed, hashed)
    with pytest.raises(rfc3161_client.VerificationError):
        verifier(nonce).verify(parsed, hashlib.new(algorithm.hashlib_name, b"other").digest())
    if nonce is not None:
        with pytest.raises(rfc3161_client.VerificationError):
            verifier(nonce + 1).verify(parsed, hashed)


GOOD = tsp.build_request(digest(), nonce=7)
BODY = der.only(GOOD).content
IMPRINT = der.only(GOOD).children()
SHA256 = bytes.fromhex("0609608648016503040201")


def with_algorithm(dotted: str, size: int) -> bytes:
    """A request over so many octets under some algorithm."""
    identifier = der.sequence(der.oid(dotted))
    imprint = der.sequence(identifier, der.octet_string(secrets.token_bytes(size)))
    return der.sequence(der.integer(1), imprint)


REFUSED = [
    ("no DER", b"junk", {"bad_data_format"}),
    ("nothing", b"", {"bad_data_format"}),
    ("cut off", GOOD[:-2], {"bad_data_format"}),
    ("octets behind it", GOOD + b"\x00", {"bad_data_format"}),
    ("indefinite length", b"\x30\x80" + BODY + b"\x00\x00", {"bad_data_format"}),
    ("a long form of a short length", b"\x30\x81" + GOOD[1:], {"bad_data_format"}),
    ("an integer with a zero in front", GOOD.replace(b"\x02\x01\x07", b"\x02\x02\x00\x07")
        .replace(GOOD[:2], bytes((0x30, len(BODY) + 1)), 1), {"bad_data_format"}),
    ("version 2", GOOD.replace(b"\x02\x01\x01", b"\x02\x01\x02", 1), {"bad_request"}),
    ("MD5", with_algorithm("1.2.840.113549.2.5", 16), {"bad_alg"}),
    ("SHA-1", with_algorithm("1.3.14.3.2.26", 20), {"bad_alg"}),
    ("SHA-224", with_algorithm("2.16.840.1.101.3.4.2.4", 28), {"bad_alg"}),
    ("no algorithm at all", with_algorithm("1.2.3.4", 32), {"bad_alg"}),
    ("SHA-256 of 31 octets", with_algorithm("2.16.840.1.101.3.4.2.1", 31), {"bad_data_format"}),
    ("SHA-512 of 32 octets", with_algorithm("2.16.840.1.101.3.4.2.3", 32), {"bad_data_format"}),
    ("another policy", tsp.build_request(digest(), policy="1.2.3.4"), {"unaccepted_policy"}),
    ("an extension", der.sequence(BODY, der.encode(0xA0, der.sequence(
        der.oid("1.2.3"), der.octet_string(b"x")))), {"unaccepted_extensions"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "expected"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_bad_requests_have_the_right_fail_info(service, query: bytes, expected: set[str]) -> None:
    async def scenario(api) -> None:
        assert fail_info(await ask(api, query)) == expected

    service(scenario)


def test_what_the_authority_cannot_do_has_its_fail_info_too(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        failures = (
            KeystoreUnavailable("no token"),
            KeystoreRefused("not with this key"),
            FaultySignature("a bit has flipped"),
        )
        for error in failures:

            def broken(*_: object, error: Exception = error) -> bytes:
                raise error

            with monkeypatch.context() as changed:
                changed.setattr(verified, "sign", broken)
                assert fail_info(await ask(api, GOOD)) == {"system_failure"}
            rfc3161_client.decode_timestamp_response(await ask(api, GOOD))

        def unforeseen(*_: object) -> bytes:
            raise RuntimeError("nobody thought of this")

        with monkeypatch.context() as changed:
            changed.setattr(verified, "sign", unforeseen)
            answer = await ask(api, GOOD)
            assert fail_info(answer) == {"system_failure"}
            assert b"nobody thought" not in answer
            assert "nobody thought" in api.log.getvalue()
        await (await api.operator.timestamps()).end()
        assert fail_info(await ask(api, GOOD)) == {"time_not_available"}
        signed = await api.sign("one", level="B-T")
        assert (signed.status_code, signed.json()["code"]) == (503, "timestamp-unavailable")
        assert signed.headers["retry-after"]
        assert await api.left() == (100, 0)
        assert (await api.sign("one", level="B-B")).status_code == 200

    service(scenario)
