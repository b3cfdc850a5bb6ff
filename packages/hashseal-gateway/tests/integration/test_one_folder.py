"""A database belongs to one data folder: of two that come at once one is refused, and ever after."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import OWNER, Cluster

from hashseal_core.errors import ConfigurationInvalid
from hashseal_gateway.infra.data_folder import DataFolder
from hashseal_gateway.infra.db import Database
from hashseal_gateway.main import office
from hashseal_gateway.settings import Settings


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shared.db'}"
        return
    cluster = Cluster()
    cluster.start()
    cluster.prepare()
    try:
        cluster.database("shared")
        yield cluster.url("shared", OWNER)
    finally:
        cluster.stop()


async def opens(settings: Settings) -> str:
    async with office(settings) as opened:
        return opened.folder.name


def test_one_of_two_folders(url: str, tmp_path: Path) -> None:
    both = [Settings(data_dir=tmp_path / name, database_url=url) for name in ("a", "b")]

    async def together() -> list[str | BaseException]:
        return await asyncio.gather(*(opens(one) for one in both), return_exceptions=True)

    async def made() -> None:
        database = Database(url)
        await database.migrate()
        await database.close()

    asyncio.run(made())
    for _ in range(2):
        found = asyncio.run(together())
        names = [one for one in found if isinstance(one, str)]
        (refused,) = (one for one in found if not isinstance(one, str))
        assert isinstance(refused, ConfigurationInvalid)
        assert refused.field == "database_url"
        assert len(names) == 1
        assert names[0] in str(refused)
    owner = both[0] if DataFolder(tmp_path / "a").name == names[0] else both[1]
    assert asyncio.run(opens(owner)) == names[0]
