"""The root of the tree of errors."""

from __future__ import annotations

from typing import ClassVar


class HashsealError(Exception):
    """Base of all; `str()` of it is one sentence that says what is wrong.

    Args:
        detail: what is wrong with this very request or file, free of secrets.
        field: the request field or option that is to blame, if one is.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
