"""I11 for authorities and responders: what one process holds ready ends when another revokes them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import ocsp


def follow_up(signed: Any) -> dict[str, str]:
    """A request for the document timestamp of a signature."""
    return {
        "signature_id": signed.json()["signatures"][0]["id"],
        "hash_algorithm": "SHA-256",
        "hash": base64.b64encode(bytes(range(32))).decode(),
    }


def test_what_a_replica_holds_ready_ends_with_the_authority(replicas) -> None:
    """Another process revokes; responses that were good of the authority do not leave this one."""

    async def scenario(apis) -> None:
        one, other = apis
        seal = (await one.operator.seal_store.find(one.account, one.seal)).chain
        numbers = [str(x509.load_der_x509_certificate(seal[0]).serial_number)]
        signed = [await api.sign(f"{n}", level="B-LT") for n, api in enumerate(apis)]
        assert [answer.status_code for answer in signed] == [200, 200]
        left = await other.left()
        issuing = x509.load_der_x509_certificate(seal[1]).serial_number
        await one.operator.authority.revoke(issuing, "cACompromise", at=datetime.now(UTC))
        ways = (
            lambda: other.post("/v1/validation", {"serials": numbers}),
            lambda: one.post("/v1/timestamps", follow_up(signed[0])),
            lambda: other.sign("x", level="B-LT"),
            lambda: other.sign("y", level="B-LTA"),
        )
        for way in (*ways, *ways[::-1]):
            answer = await way()
            assert (answer.status_code, answer.json()["code"]) == (503, "evidence-unavailable")
        assert (await other.sign("z", level="B-B")).status_code == 200  # it shows no evidence
        assert await other.left() == (left[0] - 1, 0)

    replicas(2, scenario)


@pytest.mark.parametrize("what", ["sign", "timestamp"])
def test_what_a_replica_holds_ready_is_of_no_revoked_responder(replicas, what: str) -> None:
    async def scenario(apis) -> None:
        one, other = apis
        signed = await other.sign("before", level="B-LT")
        bad = (await one.operator.authority.authorities.get("issuing")).responder
        await one.operator.authority.revoke(bad.serial, "keyCompromise", at=datetime.now(UTC))
        left = await other.left()

        async def again() -> Any:
            if what == "sign":
                return await other.sign("after", level="B-LT")
            return await other.post("/v1/timestamps", follow_up(signed))

        refused = await again()  # the commit finds it; then it is known here, too
        assert (refused.status_code, refused.json()["code"]) == (503, "evidence-unavailable")
        assert await other.left() == left
        answer = await again()
        assert answer.status_code == 200, answer.text
        for encoded in answer.json()["validation"]["ocsp_responses"]:
            read = ocsp.load_der_ocsp_response(base64.b64decode(encoded))
            assert read.certificates != [bad.certificate]

    replicas(2, scenario)
