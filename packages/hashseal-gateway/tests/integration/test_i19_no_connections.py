"""I19: no connection goes to an address that a document or a request chose, signing or verifying."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import generated_pdfs
import pytest
from addresses import ADDRESSES, FORMS
from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from canary import WATCH, Canary, canary
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko_certvalidator.registry import SimpleCertificateStore

PDF = {"Content-Type": "application/pdf"}


def document(port: int) -> bytes:
    """Addresses wherever a PDF may have one: actions, remote files, streams elsewhere, metadata."""
    url = f"http://127.0.0.1:{port}"
    forms = (url, f"http://localhost:{port}/x", f"http://127.0.0.2:{port}", f"http://[::1]:{port}")
    links = " ".join(
        f"<< /Subtype /Link /Rect [0 0 9 9] /A << /S /URI /URI ({form}) >> >>" for form in forms
    )
    more = " ".join(
        f"<< /Subtype /Link /A << /S /{kind} /F << /FS /URL /F ({url}/{kind}) >> >> >>"
        for kind in ("GoToR", "GoToE", "SubmitForm", "Thread")
    )
    objects = generated_pdfs.one_page()
    base = f"/URI << /Base ({url}/base) >> /OpenAction << /S /URI /URI ({url}/open) >>"
    objects[1] = f"<< /Type /Catalog /Pages 2 0 R {base} /Metadata 8 0 R >>".encode()
    objects[3] = objects[3].replace(
        b"/Type /Page", f"/Type /Page /Annots [{links} {more}]".encode(), 1
    )
    objects[7] = (
        f"<< /F << /FS /URL /F ({url}/stream) >> /Length 0 >>\nstream\n\nendstream".encode()
    )
    xml = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{url}/xml">]><x xmlns="{url}/ns">&e;</x>'
    objects[8] = generated_pdfs.stream("/Type /Metadata /Subtype /XML", xml.encode())
    return generated_pdfs.with_table(objects)


def test_nobody_is_called(house, caller) -> None:
    canary = Canary()
    try:
        source = document(canary.port)
        signed = caller.sign(source, level="B-LTA", location=f"http://127.0.0.1:{canary.port}/l")
        assert signed.status_code == 200, signed.text
        for content in (signed.content, source):
            assert caller.http.post("/v1/verify", content=content, headers=PDF).status_code == 200
        assert canary.connections == []
    finally:
        canary.close()


@pytest.fixture
def listening() -> Iterator[Canary]:
    with canary() as made:
        yield made


def literal(text: str) -> str:
    """A PDF string."""
    return f"<{text.encode('utf-8', 'surrogateescape').hex()}>"


def with_addresses(urls: Sequence[str]) -> bytes:
    """Each in an action, as a remote file, as the data of a stream, in the names, and in the metadata."""
    objects = generated_pdfs.one_page()
    listed = [literal(url) for url in urls]
    links = " ".join(
        f"<< /Subtype /Link /Rect [0 0 9 9] /A << /S /URI /URI {one} >> >>"
        f" << /Subtype /Link /Rect [0 0 9 9] /A << /S /SubmitForm /F << /FS /URL /F {one} >> >> >>"
        for one in listed
    )
    files = " ".join(f"{one} << /Type /Filespec /FS /URL /F {one} /UF {one} >>" for one in listed)
    objects[1] = (
        f"<< /Type /Catalog /Pages 2 0 R /URI << /Base {listed[0]} >> /Metadata 8 0 R"
        f" /Names << /EmbeddedFiles << /Names [{files}] >> >> >>"
    ).encode()
    objects[3] = objects[3].replace(b"/Type /Page", f"/Type /Page /Annots [{links}]".encode(), 1)
    xml = "".join(f'<x xmlns="{url}"/>' for url in urls)
    objects[8] = generated_pdfs.stream("/Type /Metadata /Subtype /XML", xml.encode())
    for number, one in enumerate(listed, 9):
        objects[number] = (
            f"<< /F << /FS /URL /F {one} >> /Length 0 >>\nstream\n\nendstream".encode()
        )
    return generated_pdfs.with_table(objects)


def test_every_form_of_an_address_in_a_file(house, caller, listening: Canary) -> None:
    urls = [form.format(port=listening.port) for form in (*FORMS, *ADDRESSES)]
    assert len(urls) >= 40
    source = with_addresses(urls)
    with WATCH.watching() as seen:
        signed = caller.sign(source, level="B-LTA", appearance="last:bottom-right")
        assert signed.status_code == 200, signed.text
        for content in (signed.content, source):
            told = caller.http.post("/v1/verify", content=content, headers=PDF)
            assert told.status_code == 200, told.text
        assert (seen.connections, seen.names) == ([], [])
    assert listening.connections == []


TEXTS = (
    "reason",
    "location",
    "contact",
    "external_id",
    "field_name",
    "seal",
    "appearance",
    "level",
)


@pytest.mark.parametrize("name", TEXTS)
def test_every_form_of_an_address_in_a_request(house, caller, listening: Canary, name: str) -> None:
    """In options, in the name of the file, and in headers that name addresses."""
    urls = [form.format(port=listening.port) for form in (*FORMS, *ADDRESSES)]
    with WATCH.watching() as seen:
        for url in urls[:: 2 if name == "reason" else 8]:
            options = {"seal": caller.seal, "level": "B-B", name: url}
            plain = url.encode("ascii", "ignore").decode().strip()
            plain = "".join(one for one in plain if one.isprintable())
            parts = {
                "document": (f"{plain}.pdf", generated_pdfs.with_table(generated_pdfs.one_page())),
                "options": (None, json.dumps(options)),
            }
            headers = dict.fromkeys(("Origin", "Referer", "Forwarded", "X-Forwarded-Host"), plain)
            answer = caller.http.post("/v1/documents", files=parts, headers=headers)
            assert answer.status_code in {200, 400, 404, 422}, (url, answer.text)
        assert (seen.connections, seen.names) == ([], [])
    assert listening.connections == []


def signed_by_certificate_of(urls: Sequence[str]) -> bytes:
    """A file whose signing certificate says that issuer, status and lists are at these addresses."""
    key, above = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    places = [x509.UniformResourceIdentifier(url) for url in urls]
    methods = (
        x509.AuthorityInformationAccessOID.CA_ISSUERS,
        x509.AuthorityInformationAccessOID.OCSP,
    )
    access = [x509.AccessDescription(how, place) for place in places for how in methods]
    lists = [x509.DistributionPoint([place], None, None, None) for place in places]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Somebody")]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Somewhere")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.AuthorityInformationAccess(access), critical=False)
        .add_extension(x509.CRLDistributionPoints(lists), critical=False)
        .sign(above, hashes.SHA256())
    )
    signer = signers.SimpleSigner(
        signing_cert=asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER)),
        signing_key=asn1_keys.PrivateKeyInfo.load(
            key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        ),
        cert_registry=SimpleCertificateStore(),
    )
    plain = generated_pdfs.with_table(generated_pdfs.one_page())
    writer = IncrementalPdfFileWriter(io.BytesIO(plain))
    metadata = signers.PdfSignatureMetadata(field_name="Signature1")
    return bytes(signers.sign_pdf(writer, metadata, signer=signer, bytes_reserved=65536).getvalue())


def test_every_form_of_an_address_in_a_certificate(house, caller, listening: Canary) -> None:
    urls = [form.format(port=listening.port) for form in (*FORMS, *ADDRESSES)]
    urls = [url for url in urls if url.isascii() and url]
    assert len(urls) >= 40
    source = signed_by_certificate_of(urls)
    with WATCH.watching() as seen:
        told = caller.http.post("/v1/verify", content=source, headers=PDF)
        assert told.status_code == 200, told.text
        assert told.json()["report"]["verdict"] != "valid"
        signed = caller.sign(source)
        assert signed.status_code == 200, signed.text
        assert caller.http.post("/v1/verify", content=signed.content, headers=PDF).is_success
        assert (seen.connections, seen.names) == ([], [])
    assert listening.connections == []
