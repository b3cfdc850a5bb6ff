"""The whole job on both sides of the document rows: our calls, pyHanko's calls, and what they made.

B-B: both sides read the file, add an invisible field, reserve the same room, hash, build the CMS of a
PAdES baseline signature around the same constant signature value with the same three certificates,
and write the result to a file. B-LT: both sides sign with a P-256 key, add a timestamp by a P-256
TSU, collect and check certificates and revocation data, and write all of it. `require_baseline` and
`require_long_term` prove it on what each has written.
"""

from __future__ import annotations

import asyncio
import io
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from asn1crypto.crl import CertificateList
from asn1crypto.keys import PrivateKeyInfo
from asn1crypto.pem import armor
from asn1crypto.tsp import TimeStampReq, TimeStampResp
from asn1crypto.x509 import Certificate
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key
from document_certificates import ISSUING, ROOT, SEAL, TSU, Authority
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields, signers
from pyhanko.sign.timestamps import TimeStamper
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore

from hashseal import pdf, sandbox, validation
from hashseal.client.signing import sign as signing
from hashseal_core import cms, tsp
from hashseal_core.algorithms import DigestAlgorithm, Level, SignatureAlgorithm, SignatureScheme
from hashseal_server.tsa import token as tokens

logging.getLogger("pyhanko").setLevel(logging.ERROR)  # it warns that nothing is fetched
ROOM = 8192
OPTIONS = pdf.SignatureOptions(contents_size=ROOM)
ALGORITHM = SignatureAlgorithm(SignatureScheme.RSA_PKCS1, DigestAlgorithm.SHA256)
VALUE = bytes(range(256)) + bytes(128)
"""In the place of an RSA-3072 signature: signing is what these rows leave out."""


@dataclass(frozen=True)
class Side:
    """One way to do the job; `sign` takes source and target."""

    name: str
    sign: Callable[[Path, Path], None]


def hashseal(certificates: tuple[bytes, ...]) -> Side:
    """The SDK writes the file, the core the CMS that the service would return."""

    def sign(source: Path, target: Path) -> None:
        made = pdf.prepare(source, target, OPTIONS)
        attributes = cms.signed_attributes(made.digest, certificates[0])
        signed_data = cms.assemble(
            signature_algorithm=ALGORITHM, signed_attributes_der=attributes,
            signature_value=VALUE, certificates=certificates,
        )  # fmt: skip
        pdf.embed(target, made, signed_data)

    return Side("hashseal", sign)


def pyhanko(certificates: tuple[bytes, ...], loop: asyncio.AbstractEventLoop) -> Side:
    """pyHanko as its documentation has it for a signature made elsewhere, without what it can save.

    Certificates, signer and event loop are made once; the room is given, so that it need not sign a
    dummy to estimate it; no validation context, so that it checks no chain; it works in memory and
    writes the file once, which for a small file is the cheapest of its ways.
    """
    own, *others = (Certificate.load(one) for one in certificates)
    external = signers.ExternalSigner(own, _store(others), signature_value=VALUE)
    return Side("pyHanko", _pyhanko(_PADES, external, None, loop))


def pyhanko_alone(authority: Authority, loop: asyncio.AbstractEventLoop) -> Side:
    """pyHanko at B-LT with local keys and a local TSA: no network, no service, nothing recorded.

    As above; the validation context with certificates and CRLs is made once and keeps what it found.
    pyHanko's own local TSA knows only RSA and is slow, so ours builds the tokens for it.
    """
    loaded = {name: Certificate.load(der) for name, der in authority.certificates.items()}
    issuers = _store([loaded[ISSUING], loaded[ROOT]])
    context = ValidationContext(
        trust_roots=[loaded[ROOT]], other_certs=[loaded[ISSUING]], allow_fetching=False,
        crls=[CertificateList.load(der) for der in authority.crls], revocation_mode="require",
    )  # fmt: skip
    metadata = signers.PdfSignatureMetadata(
        field_name="Signature1", md_algorithm="sha256", subfilter=fields.SigSeedSubFilter.PADES,
        embed_validation_info=True, validation_context=context,
    )  # fmt: skip
    key = PrivateKeyInfo.load(authority.keys[SEAL])
    signer = signers.SimpleSigner(loaded[SEAL], key, issuers)
    stamper = _LocalTsa(authority)
    # Its own first request would be about the digest of nothing, which our tokens refuse.
    first = loop.run_until_complete(stamper.async_timestamp(bytes(range(32)), "sha256"))
    stamper._register_dummy("sha256", first)
    return Side("pyHanko", _pyhanko(metadata, signer, stamper, loop))


class _LocalTsa(TimeStamper):
    def __init__(self, authority: Authority) -> None:
        super().__init__()
        chain = [authority.certificates[name] for name in (TSU, ISSUING)]
        self._tsu = chain[0]
        self._around = tokens.frame(chain)
        key = load_der_private_key(authority.keys[TSU], None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    async def async_request_tsa_response(self, req: TimeStampReq) -> TimeStampResp:
        asked = tsp.parse_request(req.dump())
        content = tsp.TokenContent(
            policy="1.3.6.1.4.1.32473.1.2", digest=asked.digest, serial=secrets.randbits(150),
            generated_at=tsp.truncate(datetime.now(UTC)), accuracy_ms=1000, nonce=asked.nonce,
        )  # fmt: skip
        encoded = tsp.tst_info(content)
        attributes = tsp.signed_attributes(encoded, self._tsu)
        value = self._key.sign(attributes, ec.ECDSA(hashes.SHA256()))
        made = self._around.assemble(attributes, value, encoded)
        return TimeStampResp.load(tsp.granted(made))


_PADES = signers.PdfSignatureMetadata(
    field_name="Signature1", md_algorithm="sha256", subfilter=fields.SigSeedSubFilter.PADES
)


def _store(certificates: list[Certificate]) -> SimpleCertificateStore:
    store = SimpleCertificateStore()
    store.register_multiple(certificates)
    return store


def _pyhanko(
    metadata: signers.PdfSignatureMetadata,
    signer: signers.Signer,
    stamper: TimeStamper | None,
    loop: asyncio.AbstractEventLoop,
) -> Callable[[Path, Path], None]:
    whole = signers.PdfSigner(
        metadata, signer=signer, timestamper=stamper,
        new_field_spec=fields.SigFieldSpec("Signature1"),
    )  # fmt: skip

    def sign(source: Path, target: Path) -> None:
        writer = IncrementalPdfFileWriter(io.BytesIO(source.read_bytes()), strict=False)
        work = whole.async_sign_pdf(writer, bytes_reserved=2 * ROOM, in_place=True)
        target.write_bytes(loop.run_until_complete(work).getbuffer())

    return sign


@contextmanager
def sandboxed() -> Iterator[tuple[Side, bytes]]:
    """The SDK with the whole service in this process, and its trust anchor, PEM.

    HTTP messages, charge, records and a durable commit to SQLite are all in it, and so are the checks
    of the answer, of the finished file, and its durable place.
    """
    with TemporaryDirectory() as folder, sandbox.running(Path(folder)) as running:

        def sign(source: Path, target: Path) -> None:
            seal = running.seal_ids["P-256"]
            running.client.run(signing(source, target, seal_id=seal, level=Level.B_LT))

        yield Side("hashseal", sign), running.trust_anchor


def require_baseline(
    sides: tuple[Side, ...], source: Path, target: Path, certificates: tuple[bytes, ...]
) -> None:
    """What each side writes is an append to the source with this signature over all of it.

    Raises:
        RuntimeError: a side does less or something else.
    """
    for side in sides:
        side.sign(source, target)
        (found,) = pdf.read_signatures(target)
        signed = cms.parse(cms.strip_padding(found.contents))
        digest = pdf.digest_of(target, found.byte_range, DigestAlgorithm.SHA256)
        done = (
            target.read_bytes().startswith(source.read_bytes())
            and found.covers_whole_file
            and len(found.contents) == ROOM
            and found.subfilter == "ETSI.CAdES.detached"
            and signed.message_digest == digest.value
            and signed.signature_algorithm == ALGORITHM
            and signed.signature_value == VALUE
            and signed.signing_certificate == certificates[0]
            and set(signed.certificates) == set(certificates)
        )
        if not done:
            raise RuntimeError(f"{side.name} does another job")
        target.unlink()


def require_long_term(side: Side, anchor: bytes, source: Path, target: Path) -> None:
    """What the side writes is valid at B-LT, by the same judge, with nothing fetched.

    Raises:
        RuntimeError: it is not.
    """
    side.sign(source, target)
    report = validation.validate(target, [anchor])
    if report.verdict != "valid" or report.signatures[0].level != "B-LT":
        raise RuntimeError(f"{side.name}: {report.verdict}, {report.signatures}")
    target.unlink()


def pem(certificate: bytes) -> bytes:
    """A certificate as a trust anchor."""
    armoured: bytes = armor("CERTIFICATE", certificate)
    return armoured
