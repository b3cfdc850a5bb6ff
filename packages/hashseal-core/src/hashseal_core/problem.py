"""How one error code is shown: a row of `hashseal_core.problems`."""

from __future__ import annotations

from dataclasses import dataclass

from hashseal_core import errors

TYPE_PREFIX = "urn:hashseal:problem:"


@dataclass(frozen=True, slots=True)
class Problem:
    """How one error code is shown to clients.

    Attributes:
        error: the class that is raised for it, on both sides.
        status: HTTP status.
        title: the same words each time.
        action: what the caller should do.
        csc: CSC error code.
        tsp: PKIFailureInfo bit number.
        ocsp: OCSPResponseStatus number.
        retryable: the same request may succeed later.
    """

    error: type[errors.HashsealError]
    status: int
    title: str
    action: str
    csc: str = "invalid_request"
    tsp: int = 2
    ocsp: int = 1
    retryable: bool = False

    @property
    def code(self) -> str:
        """The stable code."""
        return self.error.code

    @property
    def type(self) -> str:
        """The problem type URI."""
        return TYPE_PREFIX + self.error.code
