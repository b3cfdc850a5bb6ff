"""I3: one key, one execution, one answer, byte for byte, over several replicas."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from books import check_audit, check_books
from csc_calls import SHA256, Csc, hash_of, refused
from sqlalchemy import text


@pytest.mark.parametrize("level", ["B-B", "B-LT"])
def test_64_concurrent_duplicates_of_many_keys(replicas, level: str) -> None:
    keys = 5

    async def answered(api, key: int):
        """Once more where that is said: a lease may end while four replicas starve in one loop."""
        async with asyncio.timeout(120):
            while (
                answer := await api.sign(f"hash {key}", key=f"same-{key}", level=level)
            ).status_code == 503:
                assert answer.json()["retryable"], answer.text
        return answer

    async def scenario(apis) -> None:
        answers = await asyncio.gather(
            *(answered(apis[(n + key) % 4], key) for n in range(64) for key in range(keys))
        )
        assert {answer.status_code for answer in answers} == {200}
        for key in range(keys):
            assert len({answer.content for answer in answers[key::keys]}) == 1
        assert await apis[0].left() == (100 - keys, 0)
        assert await check_books(apis[0].operator.database) == keys
        await check_audit(apis[0].operator.audit, keys)

    replicas(4, scenario)


def test_an_answer_made_again_elsewhere_has_its_validation_material(replicas) -> None:
    """Also when all that a replica committed before were calls that somebody else had answered."""

    async def scenario(apis) -> None:
        first, second = apis
        answers = await asyncio.gather(
            *(api.sign("one", key="same", level="B-LT") for api in apis for _ in range(8))
        )
        assert len({answer.content for answer in answers}) == 1
        for key, (api, other) in {"a": (first, second), "b": (second, first)}.items():
            made = await api.sign("two", level="B-LT", key=key)
            again = await other.sign("two", level="B-LT", key=key)
            assert made.json()["validation"] is not None
            assert again.content == made.content
        async with first.operator.database.write() as connection:
            await connection.execute(text("DELETE FROM validation_set"))
        # Rather no answer than one that lacks a part.
        lost = await first.sign("two", level="B-LT", key="b")
        assert (lost.status_code, lost.json()["code"]) == (503, "storage-unavailable")

    replicas(2, scenario)


def test_staggered_duplicates_of_a_document_timestamp(replicas) -> None:
    """They arrive before, while and after the first is recorded: all get its answer."""

    async def scenario(apis) -> None:
        made = (await apis[0].sign("one", level="B-LTA")).json()
        body = {"signature_id": made["signatures"][0]["id"], "hash": hash_of("file")}

        async def later(n: int):
            await asyncio.sleep(n * 0.002)
            return await apis[n % 2].post("/v1/timestamps", body, key="staggered")

        answers = await asyncio.gather(*(later(n) for n in range(40)))
        assert Counter(answer.status_code for answer in answers) == {200: 40}
        assert len({answer.content for answer in answers}) == 1
        other = await apis[0].post("/v1/timestamps", body, key="another")
        assert (other.status_code, other.json()["code"]) == (409, "follow-up-used")

    replicas(2, scenario)


def test_staggered_duplicates_of_a_csc_timestamp_use_up_one_signature(service) -> None:
    async def scenario(api) -> None:
        csc = Csc(api)
        sad = await csc.authorised(api.seal, "one", "two")
        await csc.sign_doc(sad, "one", "two", conformance_level="Ades-B-LTA")
        asked = {"hash": hash_of("file"), "hashAlgo": SHA256}

        async def later(n: int):
            await asyncio.sleep(n * 0.002)
            return await csc.post("signatures/timestamp", asked, idempotency_key="staggered")

        async def burst() -> set[bytes]:
            answers = await asyncio.gather(*(later(n) for n in range(40)))
            assert Counter(answer.status_code for answer in answers) == {200: 40}
            return {answer.content for answer in answers}

        assert len(await burst()) == 1
        second = await csc.post("signatures/timestamp", asked, idempotency_key="second")
        assert second.status_code == 200, second.text
        third = await csc.post("signatures/timestamp", asked, idempotency_key="third")
        refused(third, "waits for its timestamp")

    service(scenario)


def test_a_key_used_for_two_requests_at_once(replicas) -> None:
    async def scenario(apis) -> None:
        answers = await asyncio.gather(
            *(apis[n % 4].sign(f"hash {n % 2}", key="two") for n in range(40))
        )
        codes = Counter(answer.status_code for answer in answers)
        assert codes == {200: 20, 422: 20}
        assert len({a.content for a in answers if a.status_code == 200}) == 1
        assert await check_books(apis[0].operator.database) == 1

    replicas(4, scenario)


def test_keys_are_scoped_to_the_account_and_stored_hashed(replicas) -> None:
    async def scenario(apis) -> None:
        first = await apis[0].sign("one", key="shared-key-canary")
        other = await apis[1].operator.accounts.create("Other Organisation")
        token = await apis[1].operator.accounts.create_token(other.id)
        apis[1].token = token.text
        foreign = await apis[1].sign("one", key="shared-key-canary")
        assert (first.status_code, foreign.status_code) == (200, 404)
        async with apis[0].operator.database.read() as connection:
            rows = (await connection.execute(text("SELECT key_hash FROM idempotency_answer"))).all()
        assert len(rows) == 1
        assert b"canary" not in bytes(rows[0].key_hash)

    replicas(2, scenario)


def test_after_an_error_the_key_may_try_again(replicas) -> None:
    async def scenario(apis) -> None:
        refused = await apis[0].sign("one", key="again", level="B-X")
        assert refused.status_code == 400
        too_many = await apis[0].sign(*[f"t{n}" for n in range(101)], key="again")
        assert too_many.status_code == 402
        assert (await apis[1].sign("one", key="again")).status_code == 200
        assert await check_books(apis[0].operator.database) == 1

    replicas(2, scenario)
