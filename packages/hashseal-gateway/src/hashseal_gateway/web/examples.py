"""Examples of bodies for the OpenAPI document; ids are made up, secrets shortened."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from hashseal_gateway.users.model import Role
from hashseal_gateway.web import wire

_MADE_AT = datetime(2026, 3, 2, 8, 15, tzinfo=UTC)
_SEAL = "5d0f7b7e6c1a4f0d9a3e2b1c"
_USER = wire.UserView(
    id="8c1e07d2a94b6f35",
    name="grace",
    role=Role.AUDITOR,
    created_at=_MADE_AT,
    has_totp=False,
    password_temporary=True,
)
_KEY = wire.KeyView(
    id="3f9c0a7be1d24c58",
    name="ERP invoices",
    role=Role.OPERATOR,
    created_at=_MADE_AT,
    seals=[_SEAL],
    expires_at=datetime(2027, 1, 1, tzinfo=UTC),
)
EXAMPLES: dict[type[msgspec.Struct], msgspec.Struct] = {
    type(one): one
    for one in (
        _USER,
        wire.UserViews([_USER], next=_USER.id),
        wire.CreateUser("grace", Role.AUDITOR),
        wire.NewPassword(_USER, "kd3…"),
        wire.ChangeUser(role=Role.OPERATOR, disabled=False),
        _KEY,
        wire.KeyViews([_KEY], next=_KEY.id),
        wire.CreateKey("ERP invoices", seals=[_SEAL], expires_at=datetime(2027, 1, 1, tzinfo=UTC)),
        wire.NewKey(_KEY, "hsg_3f9c0a7be1d24c58_…"),
    )
}
