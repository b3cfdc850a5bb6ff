"""Sign a PDF with the signing service, using public libraries only (pyHanko, asn1crypto, urllib).

    python example.py SERVICE_URL API_TOKEN SEAL_ID input.pdf output.pdf

Only the hash of the prepared file is sent.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
import urllib.request
import uuid
from datetime import UTC, datetime
from pathlib import Path

from asn1crypto import cms, crl, ocsp, x509
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigObjSetup
from pyhanko.sign.signers.pdf_byterange import SignatureObject
from pyhanko.sign.validation.dss import DocumentSecurityStore

TIMEOUT = 30


class Service:
    """The two calls that are needed, over plain HTTP requests."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self.token = token

    def call(self, path: str, body: object = None) -> dict:
        """GET without a body, POST with one. A refusal raises `urllib.error.HTTPError`."""
        request = urllib.request.Request(  # noqa: S310 - the address is the operator's
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        if body is not None:
            # A retry of this request must carry the same key: then it is charged once.
            request.add_header("Idempotency-Key", str(uuid.uuid4()))
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            return json.load(answer)


def check(signature: bytes, digest: bytes) -> None:
    """Refuse an answer that is not over the hash that was sent (nothing is trusted unseen)."""
    signer = cms.ContentInfo.load(signature)["content"]["signer_infos"][0]
    attributes = {one["type"].native: one["values"][0].native for one in signer["signed_attrs"]}
    if attributes["message_digest"] != digest:
        sys.exit("the answer is not over the hash that was sent")


def sign(service: Service, seal_id: str, source: Path, target: Path) -> None:
    """Sign `source` at level B-LT and write the result to `target`."""
    seal = service.call(f"/v1/seals/{seal_id}")
    shutil.copyfile(source, target)
    with target.open("rb+") as output:
        # 1. Prepare: a field and room for the signature are appended, the rest is hashed.
        steps = PdfCMSEmbedder().write_cms(
            field_name="Signature1", writer=IncrementalPdfFileWriter(output, strict=False)
        )
        next(steps)
        room = SignatureObject(
            timestamp=datetime.now(tz=UTC),
            subfilter=SigSeedSubFilter.PADES,
            bytes_reserved=2 * seal["signature_size"],  # hexadecimal needs two digits per octet
        )
        steps.send(SigObjSetup(sig_placeholder=room))
        prepared, _ = steps.send(SigIOSetup(md_algorithm="sha256", in_place=True))

        # 2. Send the hash, nothing else.
        answer = service.call(
            "/v1/documents/sign",
            {
                "seal_id": seal_id,
                "hash_algorithm": "SHA-256",
                "level": "B-LT",
                "hashes": [base64.b64encode(prepared.document_digest).decode()],
            },
        )

        # 3. Check the file signature, and write it into the room.
        signature = base64.b64decode(answer["signatures"][0]["signature"])
        check(signature, prepared.document_digest)
        contents = prepared.fill_with_cms(output, signature)

        # 4. Append the validation material.
        material = {
            name: [base64.b64decode(item) for item in answer["validation"][name]]
            for name in ("certificates", "ocsp_responses", "crls")
        }
        DocumentSecurityStore.add_dss(
            output,
            contents.hex().upper().encode(),
            certs=[x509.Certificate.load(der) for der in material["certificates"]],
            ocsps=[ocsp.OCSPResponse.load(der) for der in material["ocsp_responses"]],
            crls=[crl.CertificateList.load(der) for der in material["crls"]],
            strict=False,
        )


if __name__ == "__main__":
    url, token, seal, read, write = sys.argv[1:]
    sign(Service(url, token), seal, Path(read), Path(write))
    print(f"signed: {write}")
