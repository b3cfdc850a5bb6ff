"""Tests that use a fixture of their module run on one worker, so that it is made once."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("hashseal", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hashseal")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each such module a group, where its tests have none."""
    for item in items:
        if item.get_closest_marker("xdist_group") or not isinstance(item, pytest.Function):
            continue
        made = item._fixtureinfo.name2fixturedefs.values()  # noqa: SLF001 - nothing public says it
        if any(one.scope == "module" for found in made for one in found):
            item.add_marker(pytest.mark.xdist_group(str(item.path)))
