"""I15: account A with every id of account B, in every place of every operation.

Made from the OpenAPI document and the rows of `tests/judging/tenants.py`, which explains itself.
"""

from __future__ import annotations

from typing import Any

import described
import pytest
import tenants

pytestmark = pytest.mark.parametrize("other_settings", [{"requests_per_minute": 0}])


def test_every_operation_has_a_row(other_settings: Any) -> None:
    known = {operation.name for operation in described.operations()}
    assert known - set(tenants.ROWS) == set(), "give these a row in tests/judging/tenants.py"
    assert set(tenants.ROWS) - known == set(), "these rows are of no operation"
    for operation, row in tenants.named():
        assert (row.scope == "public") or operation.needs_token, operation.name


async def view(http: Any, token: str, own: tenants.Objects) -> dict[str, tuple[int, Any]]:
    """All that an account can read of itself."""
    found = {}
    for operation, row in tenants.named():
        if operation.method == "get" and row.scope == "account":
            answer = await tenants.asking(operation, own).send(http, token)
            assert answer.status_code == operation.success, (operation.name, answer.text)
            found[operation.name] = answer.text
    return found


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_foreign_and_absent_ids_look_the_same_everywhere(service) -> None:
    async def scenario(api) -> None:
        token_a, own = await tenants.one_of_everything(api, "Organisation A", 7)
        token_b, theirs = await tenants.one_of_everything(api, "Organisation B", 8)
        theirs_seen = await view(api.http, token_b, theirs)
        api.token, api.seal = token_a, own["seal_id"]
        tried = 0
        for operation, row in tenants.named():
            if row.scope == "public":
                continue

            async def base(operation=operation, row=row):
                mine = own | (await row.fresh(api) if row.fresh else {})
                return tenants.asking(operation, mine)

            # With one's own ids it works: the comparisons below are about the ids alone.
            control = await (await base()).send(api.http, token_a)
            works = control.status_code == operation.success
            assert works != bool(row.refused), (operation.name, control.text)
            for place in (await base()).places():
                for kind, one in theirs.items():
                    known = tenants.key_for(one, operation) if kind == tenants.KEY else one
                    nobody_s = tenants.absent(kind, known)
                    foreign = await (await base()).put(place, known).send(api.http, token_a)
                    absent = await (await base()).put(place, nobody_s).send(api.http, token_a)
                    tried += 1
                    differs = tenants.told(foreign, known) != tenants.told(absent, nobody_s)
                    assert not differs or place in row.tells, (
                        f"{operation.name} tells B's {kind} in {place} from one that is nobody's: "
                        f"{foreign.status_code} {foreign.text[:300]} / "
                        f"{absent.status_code} {absent.text[:300]}"
                    )
                    shown = foreign.text.replace(known, "")
                    leaked = [name for name, its in theirs.items() if its in shown]
                    assert not leaked, (operation.name, place, leaked)
        assert tried >= 100
        assert await view(api.http, token_b, theirs) == theirs_seen

    service(scenario)


def test_without_a_token_nothing_is_told(service) -> None:
    async def scenario(api) -> None:
        token_a, own = await tenants.one_of_everything(api, "Organisation A", 7)
        nobody_s = {kind: tenants.absent(kind, one) for kind, one in own.items()}
        for operation, row in tenants.named():
            if row.scope == "public":
                answer = await tenants.asking(operation, own).send(api.http, token_a)
                assert not [one for one in own.values() if one in answer.text], operation.name
                continue
            for token in (None, "hs_x", token_a[:-1] + ("0" if token_a[-1] != "0" else "1")):
                known = await tenants.asking(operation, own).send(api.http, token)
                unknown = await tenants.asking(operation, nobody_s).send(api.http, token)
                assert known.status_code == 401, operation.name
                assert tenants.told(known, "-") == tenants.told(unknown, "-"), operation.name

    service(scenario)
