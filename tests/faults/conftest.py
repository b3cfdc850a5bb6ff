"""A database that may be killed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cluster import Cluster


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Callable[[], Cluster]:
    """A cluster of its own that writes durably, since it will be killed."""

    def make() -> Cluster:
        made = Cluster(fsync="on", max_connections="400")
        request.addfinalizer(made.stop)
        made.start()
        made.prepare()
        return made

    return make
