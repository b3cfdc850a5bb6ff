"""Calls of the CSC API in the tests' service, as a client would write them."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

SHA256 = "2.16.840.1.101.3.4.2.1"
ECDSA, RSA, PSS = "1.2.840.10045.4.3.2", "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10"


def hash_of(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@dataclass
class Csc:
    """One client; `token` may be changed."""

    api: Any
    token: str = ""
    version: str = "v2"

    async def post(self, method: str, body: Any, **headers: str) -> Any:
        """The answer; `headers` have underscores for hyphens."""
        sent = {
            "authorization": f"Bearer {self.token or self.api.token}",
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        path = f"/csc/{self.version}/{method}"
        if isinstance(body, bytes):
            return await self.api.http.post(path, content=body, headers=sent)
        return await self.api.http.post(path, json=body, headers=sent)

    async def authorised(self, credential: str, *texts: str, **more: Any) -> str:
        """A SAD for the hashes of these texts."""
        body = {
            "credentialID": credential,
            "numSignatures": len(texts),
            "hashes": [hash_of(one) for one in texts],
            "hashAlgorithmOID": SHA256,
        }
        answer = await self.post("credentials/authorize", {**body, **more})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["SAD"])

    async def sign_doc(
        self, sad: str | None, *texts: str, credential: str | None = None, **more: Any
    ) -> Any:
        """`signatures/signDoc` at B-B; `key` is an idempotency key."""
        key = more.pop("key", None)
        entry = {
            "hashes": [hash_of(one) for one in texts],
            "hashAlgorithmOID": SHA256,
            "signature_format": "P",
            "conformance_level": "Ades-B-B",
            "signAlgo": ECDSA,
            **more,
        }
        body = {
            "credentialID": credential or self.api.seal,
            "SAD": sad,
            "documentDigests": [entry],
        }
        return await self.post(
            "signatures/signDoc", body, **({"idempotency_key": key} if key else {})
        )

    async def sign_hash(self, sad: str | None, *texts: str, credential: str, **more: Any) -> Any:
        """`signatures/signHash`."""
        body = {
            "credentialID": credential,
            "SAD": sad,
            "hashes": [hash_of(one) for one in texts],
            "hashAlgorithmOID": SHA256,
            "signAlgo": ECDSA,
            **more,
        }
        return await self.post("signatures/signHash", body)


def refused(answer: Any, words: str, status: int = 400, error: str = "invalid_request") -> None:
    """The CSC error, exactly: two fields, and these words in the description."""
    body = answer.json()
    assert (answer.status_code, body["error"]) == (status, error), answer.text
    assert set(body) == {"error", "error_description"}
    assert words in body["error_description"], answer.text
