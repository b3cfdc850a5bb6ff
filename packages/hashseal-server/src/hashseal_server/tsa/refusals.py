"""Why a TimeStampReq gets no token, as a TimeStampResp (RFC 3161, 2.4.2)."""

from __future__ import annotations

from hashseal_core import tsp
from hashseal_core.errors import (
    DerInvalid,
    HashLength,
    HashsealError,
    InvalidRequest,
    TimestampInvalid,
    TimestampUnsigned,
    Unavailable,
)
from hashseal_core.problems import problem_of

BAD_REQUEST, BAD_DATA_FORMAT = 2, 5
UNACCEPTED_POLICY, UNACCEPTED_EXTENSION = 15, 16
SYSTEM_FAILURE = 25


def refusal(error: HashsealError) -> bytes:
    """The refusal that says what was wrong, with the failInfo that fits."""
    if isinstance(error, tsp.UnacceptedExtension):
        return tsp.refused(UNACCEPTED_EXTENSION, error.detail)
    if isinstance(error, DerInvalid | HashLength):
        return tsp.refused(BAD_DATA_FORMAT, error.detail)
    if isinstance(error, TimestampInvalid):
        return tsp.refused(BAD_REQUEST, error.detail)
    if isinstance(error, TimestampUnsigned):
        return tsp.refused(SYSTEM_FAILURE, error.detail)
    if isinstance(error, InvalidRequest | Unavailable):
        return tsp.refused(problem_of(error).tsp, error.detail)
    return tsp.refused(SYSTEM_FAILURE, "system failure")
