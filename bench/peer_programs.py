"""The peers as processes of their own, on loopback.

python bench/peer_programs.py csc FOLDER PORT
python bench/peer_programs.py tsa FOLDER PORT
python bench/peer_programs.py pyhanko FOLDER ALGORITHM LEVEL [PORT of a TSA]

The first two serve until they are killed, with neither log nor time override. The third answers each
number of seconds on its standard input with the number of documents it signed in them.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import peer_material
from peer_material import Material

HOST = "127.0.0.1"


def csc(material: Material, port: int) -> None:
    """The CSC server; its tokens are not bound to hashes, so that one serves every call."""
    from aiohttp import web
    from certomancer.registry import CertomancerConfig
    from csc_dummy.csc_dummy_server import CSCWithCertomancer, DummyServiceParams

    configuration = CertomancerConfig.from_file(str(material.certomancer))
    made = CSCWithCertomancer(
        configuration, service_params=DummyServiceParams(hash_pinning_required=False)
    )
    made.register_routes()
    web.run_app(made.app, host=HOST, port=port, print=None, access_log=None)


def tsa(material: Material, port: int) -> None:
    """Certomancer's timestamp authority."""
    from aiohttp import web
    from certomancer.integrations.aiohttp_animator import build_animator_app
    from certomancer.registry import CertomancerConfig

    configuration = CertomancerConfig.from_file(str(material.certomancer))
    app = build_animator_app(configuration.pki_archs, with_web_ui=False, allow_time_override=False)
    web.run_app(app, host=HOST, port=port, print=None, access_log=None)


class Signer:
    """pyHanko with a key of its own and a TSA in the same process or, given a port, over HTTP."""

    def __init__(self, material: Material, algorithm: str, level: str, port: int) -> None:
        from asn1crypto import keys, pem
        from pyhanko.keys import load_cert_from_pemder
        from pyhanko.sign.signers import SimpleSigner
        from pyhanko.sign.timestamps import DummyTimeStamper, HTTPTimeStamper
        from pyhanko_certvalidator.fetchers.aiohttp_fetchers.util import LazySession

        root = str(material.root)
        loaded = SimpleSigner.load(
            str(material.key("seal", algorithm)), str(material.certificate("seal", algorithm)),
            ca_chain_files=(root,),
        )  # fmt: skip
        assert loaded is not None
        self._signer = loaded
        self._root = load_cert_from_pemder(root)
        self._crl = material.crl.read_bytes()
        self._long_term = level == "B-LT"
        self._pdf = material.pdf.read_bytes()
        self._session = LazySession()  # keeps its connection to the TSA
        if port:
            url = f"http://{HOST}:{port}/peers/tsa/tsu-{algorithm}"
            self._stamper: Any = HTTPTimeStamper(url, session=self._session)
        else:
            _, _, key = pem.unarmor(material.key("tsu", algorithm).read_bytes())
            self._stamper = DummyTimeStamper(
                load_cert_from_pemder(str(material.certificate("tsu", algorithm))),
                keys.PrivateKeyInfo.load(key),
            )

    def _context(self) -> Any:
        # A context holds the time it was made at, so a service needs a new one for each signature.
        from pyhanko_certvalidator import ValidationContext

        return ValidationContext(
            trust_roots=[self._root], crls=[self._crl], revocation_mode="require",
            moment=datetime.now(UTC),
        )  # fmt: skip

    async def sign(self) -> bytes:
        """One signed document."""
        from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
        from pyhanko.sign.fields import SigSeedSubFilter
        from pyhanko.sign.signers import PdfSignatureMetadata, async_sign_pdf

        metadata = PdfSignatureMetadata(
            field_name="Signature1", md_algorithm="sha256", subfilter=SigSeedSubFilter.PADES,
            embed_validation_info=self._long_term,
            validation_context=self._context() if self._long_term else None,
        )  # fmt: skip
        writer = IncrementalPdfFileWriter(io.BytesIO(self._pdf))
        # Without a size it would sign once more, to learn how long a signature is.
        signed = await async_sign_pdf(
            writer, metadata, signer=self._signer, timestamper=self._stamper, bytes_reserved=16384
        )
        return bytes(signed.getvalue())

    async def check(self) -> None:
        """Refuse to be measured when what is made does not verify or lacks what the level asks."""
        from pyhanko.pdf_utils.reader import PdfFileReader
        from pyhanko.sign.validation import async_validate_pdf_signature

        reader = PdfFileReader(io.BytesIO(await self.sign()))
        signature = reader.embedded_signatures[0]
        status = await async_validate_pdf_signature(signature, self._context())
        complete = status.timestamp_validity is not None and (
            not self._long_term or "/DSS" in reader.root
        )
        if not (status.bottom_line and complete):
            raise RuntimeError(status.pretty_print_details())

    async def serve(self) -> None:
        """Sign for as long as each line says."""
        await self.check()
        print("ready", flush=True)
        for line in sys.stdin:
            until, done = time.perf_counter() + float(line), 0
            while time.perf_counter() < until:
                await self.sign()
                done += 1
            print(done, flush=True)
        await self._session.close()


def main() -> None:
    """Be the peer that the arguments name."""
    name, folder, *rest = sys.argv[1:]
    material = peer_material.Material(Path(folder))
    if name == "pyhanko":
        logging.disable(logging.WARNING)  # one at each signature, that nothing will be fetched
        algorithm, level, *port = rest
        asyncio.run(Signer(material, algorithm, level, int(port[0]) if port else 0).serve())
    else:
        {"csc": csc, "tsa": tsa}[name](material, int(rest[0]))


if __name__ == "__main__":
    main()
