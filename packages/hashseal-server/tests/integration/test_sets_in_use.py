"""A validation set that is still in use is not taken for an old one (I3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from hashseal_server.signing.store import forget_sets
from hashseal_server.signing.tables import validation_sets


def test_a_set_in_use_is_recorded_again(service) -> None:
    async def scenario(api) -> None:
        signed = await api.sign("one", level="B-LT", key="first")
        handler = api.app.inner.hot.handlers["/v1/documents/sign"]
        store = handler.__closure__[0].cell_contents.signing_store
        database = api.operator.database
        months = datetime.now(UTC) - timedelta(days=90)
        async with database.write() as connection:
            await connection.execute(update(validation_sets).values(created_at=months))
        # The process has not recorded it for more than half a day.
        store._sets = {digest: at - timedelta(hours=13) for digest, at in store._sets.items()}
        assert len(store._sets) == 1
        assert (await api.sign("two", level="B-LT")).status_code == 200
        assert await forget_sets(database, before=months + timedelta(days=1), limit=100) == 0
        again = await api.sign("one", level="B-LT", key="first")
        assert again.content == signed.content

    service(scenario)
