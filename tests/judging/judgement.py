"""Independent tools as judges; nothing of Hashseal is used to look at what Hashseal made."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pikepdf
import rfc3161_client
from asn1crypto import cms, ocsp, pem, tsp, x509
from cryptography.x509 import load_der_x509_certificate
from pyhanko.keys import load_certs_from_pemder_data
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature, validate_pdf_timestamp
from pyhanko_certvalidator import ValidationContext

VALID = "Signature is Valid."
"""What Poppler says of a signature whose digest and value are right."""
BYTE_RANGE = re.compile(rb"/ByteRange\s*\[\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*\]")


@dataclass(frozen=True, slots=True)
class Found:
    """One signature or document timestamp as it stands in the file."""

    signed_bytes: bytes
    signed_data_der: bytes
    end: int

    @property
    def content_info(self) -> cms.ContentInfo:
        """The CMS, parsed by asn1crypto."""
        return cms.ContentInfo.load(self.signed_data_der, strict=True)

    @property
    def is_timestamp(self) -> bool:
        """It is a document timestamp: the CMS carries a TSTInfo."""
        kind = self.content_info["content"]["encap_content_info"]["content_type"].native
        return bool(kind == "tst_info")


@dataclass(frozen=True, slots=True)
class Material:
    """Validation material as found in a DSS dictionary, DER."""

    certificates: tuple[bytes, ...]
    ocsp_responses: tuple[bytes, ...]
    crls: tuple[bytes, ...]


def first_element(padded: bytes) -> bytes:
    """The outer DER element, without the padding of /Contents."""
    length = padded[1]
    header = 2
    if length & 0x80:
        header += length & 0x7F
        length = int.from_bytes(padded[2:header], "big")
    assert not any(padded[header + length :]), "padding is not zero"
    return padded[: header + length]


def signatures(document: bytes) -> list[Found]:
    """Every signature, in the order of the file."""
    found = []
    for match in BYTE_RANGE.finditer(document):
        start, length, second, rest = (int(number) for number in match.groups())
        assert start == 0
        gap = document[length:second]
        assert gap[:1] == b"<", "the gap of the ByteRange is not exactly /Contents"
        assert gap[-1:] == b">", "the gap of the ByteRange is not exactly /Contents"
        found.append(
            Found(
                signed_bytes=document[:length] + document[second : second + rest],
                signed_data_der=first_element(bytes.fromhex(gap[1:-1].decode())),
                end=second + rest,
            )
        )
    return sorted(found, key=lambda one: one.end)


def dss(document: bytes) -> Material:
    """What the DSS dictionary holds, read by pikepdf."""
    with pikepdf.open(io.BytesIO(document)) as pdf:
        store = pdf.Root.get("/DSS", pikepdf.Dictionary())
        parts = [
            tuple(item.read_bytes() for item in store.get(name, pikepdf.Array()))
            for name in ("/Certs", "/OCSPs", "/CRLs")
        ]
    return Material(*parts)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """One tool, its output as text; a time limit so that no test hangs."""
    return subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
    )


def at_time(at: datetime | None) -> tuple[str, ...]:
    """OpenSSL's option for the time to judge by."""
    return () if at is None else ("-attime", str(int(at.timestamp())))


def openssl_cms(
    found: Found, anchor_pem: Path, folder: Path, *, at: datetime | None = None
) -> bool:
    """`openssl cms -verify` over the bytes of the ByteRange."""
    (folder / "signature.der").write_bytes(found.signed_data_der)
    (folder / "signed.bin").write_bytes(found.signed_bytes)
    outcome = run(
        *("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-purpose", "any"),
        *("-in", folder / "signature.der", "-content", folder / "signed.bin"),
        *("-CAfile", anchor_pem, "-out", folder / "out.bin", *at_time(at)),
    )
    return outcome.returncode == 0


def openssl_ts(
    token_der: bytes, over: bytes, anchor_pem: Path, folder: Path, *, at: datetime | None = None
) -> bool:
    """`openssl ts -verify` of a token over these bytes, with what the token carries."""
    (folder / "token.der").write_bytes(token_der)
    (folder / "over.bin").write_bytes(over)
    certificates = cms.ContentInfo.load(token_der)["content"]["certificates"]
    bundle = b"".join(pem.armor("CERTIFICATE", item.chosen.dump()) for item in certificates)
    (folder / "token-chain.pem").write_bytes(bundle)
    outcome = run(
        *("openssl", "ts", "-verify", "-token_in", "-in", folder / "token.der"),
        *("-data", folder / "over.bin", "-CAfile", anchor_pem),
        *("-untrusted", folder / "token-chain.pem", *at_time(at)),
    )
    return outcome.returncode == 0 and "Verification: OK" in outcome.stdout


def rfc3161(token_der: bytes, over: bytes, anchor_der: bytes) -> bool:
    """rfc3161-client's verdict on a token over these bytes, with the root as its only anchor."""
    granted = tsp.TimeStampResp(
        {"status": {"status": "granted"}, "time_stamp_token": cms.ContentInfo.load(token_der)}
    )
    response = rfc3161_client.decode_timestamp_response(granted.dump())
    assert response.time_stamp_token() == token_der
    root = load_der_x509_certificate(anchor_der)
    verifier = rfc3161_client.VerifierBuilder().add_root_certificate(root).build()
    imprint = tsp.TSTInfo.load(
        cms.ContentInfo.load(token_der)["content"]["encap_content_info"]["content"].contents
    )["message_imprint"]
    algorithm = imprint["hash_algorithm"]["algorithm"].native
    try:
        return bool(verifier.verify(response, hashlib.new(algorithm, over).digest()))
    except rfc3161_client.VerificationError:
        return False


def write_pem(der: bytes, path: Path) -> Path:
    """One certificate as PEM."""
    path.write_bytes(pem.armor("CERTIFICATE", der))
    return path


def openssl_ocsp(response_der: bytes, certificates: tuple[bytes, ...], folder: Path) -> str:
    """`openssl ocsp -respin`: the status it reports, or what it complains of.

    The certificate that is asked about, and its issuer, are found in `certificates`.
    """
    (folder / "response.der").write_bytes(response_der)
    basic = ocsp.OCSPResponse.load(response_der).basic_ocsp_response
    single = basic["tbs_response_data"]["responses"][0]["cert_id"]
    parsed = [x509.Certificate.load(der) for der in certificates]
    subject = next(c for c in parsed if c.serial_number == single["serial_number"].native)
    issuer = next(c for c in parsed if c.subject.dump() == subject.issuer.dump())
    bundle = b"".join(pem.armor("CERTIFICATE", c.dump()) for c in parsed if c.ca)
    (folder / "authorities.pem").write_bytes(bundle)
    outcome = run(
        *("openssl", "ocsp", "-respin", folder / "response.der", "-no_nonce"),
        *("-issuer", write_pem(issuer.dump(), folder / "issuer.pem")),
        *("-cert", write_pem(subject.dump(), folder / "subject.pem")),
        *("-CAfile", folder / "authorities.pem"),
    )
    said = outcome.stdout + outcome.stderr
    if outcome.returncode == 0 and "Response verify OK" in said:
        status = re.search(r"subject\.pem: (\w+)", said)
        return status[1] if status else said
    return said


def pdfsig(path: Path) -> list[bool]:
    """Poppler's verdict on the integrity of each signature.

    It cannot judge document timestamps and says so; these are left to the other judges.
    """
    return [said == VALID for said in pdfsig_says(path)]


def pdfsig_says(path: Path, password: str = "") -> list[str]:
    """The same in Poppler's words; `password` opens the file."""
    outcome = run("pdfsig", "-nocert", "-no-ocsp", "-upw", password, path)
    blocks = re.split(r"^Signature #", outcome.stdout, flags=re.MULTILINE)[1:]
    judged = [block for block in blocks if "Signature Type: unknown" not in block]
    found = [re.search(r"^  - Signature Validation: (.*)$", one, re.MULTILINE) for one in judged]
    return [one[1] if one else "not judged" for one in found]


def mutool(path: Path) -> bool:
    """MuPDF finds the digest right and nothing changed; it has no way to be given our root."""
    outcome = run("mutool", "sign", "-v", path)
    said = outcome.stdout + outcome.stderr
    bad = ("digest failure", "does not match", "digest mismatch", "have been made", "invalid")
    return "erify" in said and not any(word in said.lower() for word in bad)


def qpdf(path: Path) -> int:
    """`qpdf --check`: 0 clean, 1 warnings, 2 errors."""
    return {0: 0, 3: 1}.get(run("qpdf", "--check", path).returncode, 2)


def pyhanko(
    document: bytes,
    anchor_der: bytes,
    material: Material,
    *,
    at: datetime | None = None,
) -> list[bool]:
    """pyHanko's verdict on each signature, then on each document timestamp.

    Revocation must be shown, nothing is fetched.
    `at` is the time to judge by; None is the present.
    """
    reader = PdfFileReader(io.BytesIO(document), strict=False)
    if reader.encrypted:
        reader.decrypt("")

    def context() -> ValidationContext:
        return ValidationContext(
            trust_roots=list(load_certs_from_pemder_data(anchor_der)),
            other_certs=[x509.Certificate.load(der) for der in material.certificates],
            ocsps=list(material.ocsp_responses),
            crls=list(material.crls),
            allow_fetching=False,
            revocation_mode="require",
            moment=at,
        )

    verdicts = []
    for embedded in reader.embedded_regular_signatures:
        status = validate_pdf_signature(embedded, context(), context())
        verdicts.append(bool(status.bottom_line))
    for embedded in reader.embedded_timestamp_signatures:
        status = validate_pdf_timestamp(embedded, context())
        verdicts.append(bool(status.valid and status.trusted and status.intact))
    return verdicts
