"""Roles, permissions, callers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hashseal_core.errors import Denied, InvalidValue

KEY_PREFIX = "hsg"
_NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._@-]{1,64}")
"""Neither `.` nor `..`: a browser takes them out of the address of the user's page."""
_LONGEST_KEY_NAME = 64
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and halves of characters: no database takes all of them for text."""
_ID = re.compile(r"[0-9a-f]{16}")


class Role(StrEnum):
    """What somebody is for."""

    ADMINISTRATOR = "administrator"
    SEAL_ADMINISTRATOR = "seal-administrator"
    OPERATOR = "operator"
    AUDITOR = "auditor"


class Permission(StrEnum):
    """What somebody may do."""

    SIGN = "sign"
    VERIFY = "verify"
    SEE_SEALS = "see-seals"
    SET_SEALS = "set-seals"
    SEE_EVERYTHING = "see-everything"
    """The log and the documents' states of all callers, not only one's own."""
    MANAGE = "manage"
    """Users and keys."""


_ALL = frozenset(Permission)
PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    Role.ADMINISTRATOR: _ALL,
    Role.SEAL_ADMINISTRATOR: frozenset(
        {Permission.SIGN, Permission.VERIFY, Permission.SEE_SEALS, Permission.SET_SEALS}
    ),
    Role.OPERATOR: frozenset({Permission.SIGN, Permission.VERIFY, Permission.SEE_SEALS}),
    Role.AUDITOR: frozenset({Permission.VERIFY, Permission.SEE_SEALS, Permission.SEE_EVERYTHING}),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who is known; `seals` None is every seal of the account.

    Attributes:
        kind: `key`, `user` or `folder`.
    """

    kind: str
    id: str
    name: str
    role: Role
    seals: frozenset[str] | None = None

    def may(self, permission: Permission) -> bool:
        """The role includes it; but who may use some seals only could lift that by managing."""
        limited = permission is Permission.MANAGE and self.seals is not None
        return permission in PERMISSIONS[self.role] and not limited

    def require(self, permission: Permission) -> None:
        """The same, or an error.

        Raises:
            Denied: it does not.
        """
        if self.may(permission):
            return
        if permission in PERMISSIONS[self.role]:
            raise Denied("a key that is limited to some seals does not manage users and keys")
        raise Denied(f"the role {self.role} does not include {permission}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A business system's key; its secret is nowhere."""

    id: str
    name: str
    role: Role
    seals: frozenset[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class User:
    """A person who logs in."""

    id: str
    name: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None
    has_totp: bool
    password_temporary: bool = False


def login_name(text: str) -> str:
    """A name to log in with, as it is compared.

    Raises:
        InvalidValue: it has other characters.
    """
    if not _NAME.fullmatch(text):
        raise InvalidValue("a name is 1 to 64 of A-Z a-z 0-9 . _ @ -", field="name")
    return text.lower()


def key_name(text: str) -> str:
    """The name of a business system.

    Raises:
        InvalidValue: it is empty or too long, or no text.
    """
    if not 1 <= len(text) <= _LONGEST_KEY_NAME or not text.strip():
        raise InvalidValue(f"a name has 1 to {_LONGEST_KEY_NAME} characters", field="name")
    if _UNFIT.search(text):
        raise InvalidValue("there is a control character in it", field="name")
    return text


def is_id(text: str) -> bool:
    """There may be a key or a user of this id."""
    return _ID.fullmatch(text) is not None
