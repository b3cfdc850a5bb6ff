"""The id of a request: in its answer, in the log, in traces."""

from __future__ import annotations

import secrets
from collections.abc import MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]


def request_id(scope: Scope) -> str:
    """The id of this request (an ASGI scope), made when first asked for."""
    state = scope.setdefault("state", {})
    known = state.get("request_id")
    if not isinstance(known, str):
        known = secrets.token_hex(8)
        state["request_id"] = known
    return known
