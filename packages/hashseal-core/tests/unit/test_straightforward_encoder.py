"""What our builders write is octet for octet what a straightforward ASN.1 encoder writes."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import algos, core
from asn1crypto import cms as asn1_cms
from asn1crypto import tsp as asn1_tsp
from asn1crypto import x509 as asn1_x509
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from hashseal_core import cms, tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm, SignatureAlgorithm, SignatureScheme
from hashseal_core.errors import UnsupportedAlgorithm

DIGESTS = st.sampled_from(list(DigestAlgorithm)).flatmap(
    lambda algorithm: (
        st.binary(min_size=algorithm.size, max_size=algorithm.size)
        .filter(any)
        .map(lambda value: Digest(algorithm, value))
    )
)


def plain_attributes(
    digest: Digest, certificate: bytes, content_type: str
) -> asn1_cms.CMSAttributes:
    parsed = asn1_x509.Certificate.load(certificate)
    ess = asn1_tsp.ESSCertIDv2(
        {
            "cert_hash": hashlib.sha256(certificate).digest(),
            "issuer_serial": {
                "issuer": [asn1_x509.GeneralName("directory_name", parsed.issuer)],
                "serial_number": parsed.serial_number,
            },
        }
    )
    return asn1_cms.CMSAttributes(
        [
            asn1_cms.CMSAttribute({"type": "content_type", "values": [content_type]}),
            asn1_cms.CMSAttribute({"type": "message_digest", "values": [digest.value]}),
            asn1_cms.CMSAttribute(
                {
                    "type": "signing_certificate_v2",
                    "values": [asn1_tsp.SigningCertificateV2({"certs": [ess]})],
                }
            ),
        ]
    )


def without_parameters(algorithm: DigestAlgorithm) -> algos.DigestAlgorithm:
    """RFC 5754, 2: parameters absent; asn1crypto would write NULL."""
    made = algos.DigestAlgorithm({"algorithm": algorithm.hashlib_name})
    made["parameters"] = None
    return made


def signature_algorithm(algorithm: SignatureAlgorithm) -> dict[str, object]:
    name = algorithm.digest.hashlib_name
    if algorithm.scheme is SignatureScheme.ECDSA:
        return {"algorithm": f"{name}_ecdsa"}
    if algorithm.scheme is SignatureScheme.RSA_PKCS1:
        return {"algorithm": f"{name}_rsa", "parameters": core.Null()}
    digest = {"algorithm": name, "parameters": core.Null()}
    return {
        "algorithm": "rsassa_pss",
        "parameters": algos.RSASSAPSSParams(
            {
                "hash_algorithm": digest,
                "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": digest},
                "salt_length": algorithm.salt_length,
            }
        ),
    }


@given(digest=st.sampled_from(list(DigestAlgorithm)), salt=st.none() | st.integers(0, 478))
@example(digest=DigestAlgorithm.SHA256, salt=20)
def test_identifier_of_a_salted_signature(digest: DigestAlgorithm, salt: int | None) -> None:
    algorithm = SignatureAlgorithm(SignatureScheme.RSA_PSS, digest, salt)
    plain = algos.SignedDigestAlgorithm(signature_algorithm(algorithm))
    ours = cms.signature_identifier(algorithm)
    assert ours == plain.dump(force=True)
    assert (b"\xa2" not in ours) is (salt == 20)  # DEFAULT, so absent
    assert (algorithm.salt is None) is (salt in {None, digest.size})


def test_only_pss_has_a_salt() -> None:
    for scheme in (SignatureScheme.ECDSA, SignatureScheme.RSA_PKCS1):
        with pytest.raises(UnsupportedAlgorithm):
            SignatureAlgorithm(scheme, DigestAlgorithm.SHA256, 32)
    with pytest.raises(UnsupportedAlgorithm):
        SignatureAlgorithm(SignatureScheme.RSA_PSS, DigestAlgorithm.SHA256, -1)


@pytest.fixture(scope="module")
def certificates(chain) -> list[bytes]:
    return [holder.der for holder in (chain.leaf, chain.issuing, chain.root)]


@settings(max_examples=40, deadline=None, phases=[Phase.generate])
@given(digest=DIGESTS, timestamp=st.booleans())
def test_signed_attributes(digest: Digest, timestamp: bool, certificates) -> None:
    kind = "tst_info" if timestamp else "data"
    oid = cms.CONTENT_TST_INFO if timestamp else cms.CONTENT_DATA
    ours = cms.signed_attributes(digest, certificates[0], content_type=oid)
    assert ours == plain_attributes(digest, certificates[0], kind).dump(force=True)


@settings(max_examples=12, deadline=None, phases=[Phase.generate])
@given(
    digest=DIGESTS,
    scheme=st.sampled_from(list(SignatureScheme)),
    value=st.binary(min_size=1, max_size=520),
    content=st.none() | st.binary(max_size=300),
    count=st.integers(1, 3),
)
def test_signed_data(digest, scheme, value, content, count, certificates) -> None:
    algorithm = SignatureAlgorithm(scheme, digest.algorithm)
    attributes = plain_attributes(digest, certificates[0], "data")
    parsed = asn1_x509.Certificate.load(certificates[0])
    encapsulated: dict[str, object] = {"content_type": "data"}
    if content is not None:
        encapsulated["content"] = content
    name = without_parameters(digest.algorithm)
    plain = asn1_cms.ContentInfo(
        {
            "content_type": "signed_data",
            "content": asn1_cms.SignedData(
                {
                    "version": "v1",
                    "digest_algorithms": [name],
                    "encap_content_info": encapsulated,
                    "certificates": [
                        asn1_cms.CertificateChoices("certificate", asn1_x509.Certificate.load(one))
                        for one in certificates[:count]
                    ],
                    "signer_infos": [
                        {
                            "version": "v1",
                            "sid": {
                                "issuer_and_serial_number": {
                                    "issuer": parsed.issuer,
                                    "serial_number": parsed.serial_number,
                                }
                            },
                            "digest_algorithm": name,
                            "signed_attrs": attributes,
                            "signature_algorithm": signature_algorithm(algorithm),
                            "signature": value,
                        }
                    ],
                }
            ),
        }
    )
    ours = cms.assemble(
        signature_algorithm=algorithm,
        signed_attributes_der=cms.signed_attributes(digest, certificates[0]),
        signature_value=value,
        certificates=certificates[:count],
        content=content,
    )
    assert ours == plain.dump(force=True)


@settings(max_examples=40, deadline=None, phases=[Phase.generate])
@given(
    digest=DIGESTS,
    serial=st.integers(1, 1 << 159),
    milliseconds=st.integers(0, 10**12),
    accuracy=st.integers(1, 5000),
    nonce=st.none() | st.integers(0, 1 << 64),
)
def test_timestamp_content(digest, serial, milliseconds, accuracy, nonce) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    content = tsp.TokenContent(
        policy="1.3.6.1.4.1.32473.1.2",
        digest=digest,
        serial=serial,
        generated_at=at,
        accuracy_ms=accuracy,
        nonce=nonce,
    )
    seconds, rest = divmod(accuracy, 1000)
    described: dict[str, object] = {}
    if seconds:
        described["seconds"] = seconds
    if rest:
        described["millis"] = rest
    plain: dict[str, object] = {
        "version": "v1",
        "policy": "1.3.6.1.4.1.32473.1.2",
        "message_imprint": {
            "hash_algorithm": without_parameters(digest.algorithm),
            "hashed_message": digest.value,
        },
        "serial_number": serial,
        "gen_time": at,
        "accuracy": described,
    }
    if nonce is not None:
        plain["nonce"] = nonce
    assert tsp.tst_info(content) == asn1_tsp.TSTInfo(plain).dump(force=True)
