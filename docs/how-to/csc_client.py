"""Sign a PDF with pyHanko's own CSC client, and timestamp it with its own TSA client.

    python csc_client.py SERVICE_URL v1|v2 API_TOKEN CREDENTIAL_ID input.pdf output.pdf [--pss]

Needs `pyHanko[async-http]` and a credential of the raw kind: the client makes the signed attributes
by itself and has their hash signed (`signatures/signHash`).
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttp
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.signers import PdfSignatureMetadata, async_sign_pdf
from pyhanko.sign.signers.csc_signer import (
    CSCAuthorizationInfo,
    CSCAuthorizationManager,
    CSCCredentialInfo,
    CSCServiceSessionInfo,
    CSCSigner,
    fetch_certs_in_csc_credential,
)
from pyhanko.sign.timestamps import HTTPTimeStamper


class Authorising(CSCAuthorizationManager):
    """Has each hash authorised just before it is signed: the service wants that (SCAL 2)."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        session: CSCServiceSessionInfo,
        credential: CSCCredentialInfo,
    ) -> None:
        super().__init__(session, credential)
        self.http = http

    async def authorize_signature(self, hash_b64s: list[str]) -> CSCAuthorizationInfo:
        """Signature activation data for these hashes."""
        async with self.http.post(
            self.csc_session_info.endpoint_url("credentials/authorize"),
            headers=self.auth_headers,
            json=self.format_csc_auth_request(hash_b64s=hash_b64s),
            raise_for_status=True,
        ) as answer:
            return self.parse_csc_auth_response(await answer.json())


async def sign(
    session: CSCServiceSessionInfo, source: Path, target: Path, *, prefer_pss: bool
) -> None:
    """Sign `source` at level B-T."""
    async with aiohttp.ClientSession() as http:
        credential = await fetch_certs_in_csc_credential(http, session)
        signer = CSCSigner(http, Authorising(http, session, credential), prefer_pss=prefer_pss)
        with source.open("rb") as file, target.open("wb") as output:
            await async_sign_pdf(
                IncrementalPdfFileWriter(file, strict=False),
                PdfSignatureMetadata(
                    field_name="Signature1",
                    md_algorithm="sha256",
                    subfilter=SigSeedSubFilter.PADES,
                ),
                signer=signer,
                timestamper=HTTPTimeStamper(f"{session.service_url}/tsa"),
                output=output,
            )


if __name__ == "__main__":
    url, version, token, credential_id, read, write = sys.argv[1:7]
    where = CSCServiceSessionInfo(url.rstrip("/"), credential_id, token, version)
    asyncio.run(sign(where, Path(read), Path(write), prefer_pss="--pss" in sys.argv[7:]))
    print(f"signed: {write}")
