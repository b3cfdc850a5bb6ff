"""What becomes of each call of a group, given what the database says under lock.

Pure arithmetic, no I/O. One call's refusal is its own: the others are decided as if it had never
come. Calls are taken in order, so the last free call goes to whoever came first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct

from hashseal_core.errors import (
    AccountNotFound,
    EvidenceUnavailable,
    HashsealError,
    SealRevoked,
    TimestampUnavailable,
)
from hashseal_server.accounts.model import AccountId
from hashseal_server.accounts.quota import Balance, Charge, spend
from hashseal_server.infra.commit import Answer, Delivered, Recorded, RequestIdentity
from hashseal_server.signing.model import Call

UNIT_REVOKED = "the timestamping unit's certificate has been revoked"
VOUCHER_REVOKED = "an authority or responder of the validation material has been revoked"


class Pending(Struct, frozen=True):
    """A call whose signatures are made, waiting for its commit."""

    request: RequestIdentity
    call: Call


@dataclass(frozen=True, slots=True)
class Standing:
    """The locked truth: answers given, calls left, certificates revoked.

    `revoked` are ours, `stopped` other authorities'.
    """

    delivered: Mapping[tuple[str, bytes], Delivered]
    balances: Mapping[AccountId, Balance]
    revoked: frozenset[int]
    stopped: frozenset[str] = frozenset()


class Granted(Struct, frozen=True):
    """A call that is to be recorded."""

    pending: Pending
    charge: Charge
    recorded: Recorded


@dataclass(frozen=True, slots=True)
class Settlement:
    """One outcome for each call, in order; what to record; the balances that changed."""

    outcomes: tuple[Answer | HashsealError, ...]
    granted: tuple[Granted, ...]
    balances: Mapping[AccountId, Balance]


def settle(group: Sequence[Pending], standing: Standing) -> Settlement:
    """Decide every call of the group."""
    given = dict(standing.delivered)
    left = dict(standing.balances)
    outcomes: list[Answer | HashsealError] = []
    granted: list[Granted] = []
    for pending in group:
        request, call = pending.request, pending.call
        try:
            if (earlier := given.get(request.place)) is not None:
                outcomes.append(earlier.to(request))
                continue
            balance, charge = _charge(call, standing, left)
        except HashsealError as error:
            outcomes.append(error)
            continue
        validation = call.validation.digest if call.validation else None
        recorded = Recorded(call.id, len(call.signatures), balance.free, balance.paid, validation)
        left[call.account_id] = balance
        given[request.place] = Delivered(request.digest, recorded)
        granted.append(Granted(pending, charge, recorded))
        outcomes.append(recorded)
    changed = {one.pending.call.account_id for one in granted}
    return Settlement(
        tuple(outcomes), tuple(granted), {account: left[account] for account in changed}
    )


def _charge(
    call: Call, standing: Standing, left: Mapping[AccountId, Balance]
) -> tuple[Balance, Charge]:
    own = call.serials[:0] if call.imported else call.serials[:1]
    if not (standing.revoked.isdisjoint(own) and standing.stopped.isdisjoint(call.imported)):
        raise SealRevoked("the seal's certificate has been revoked", field="seal_id")
    if not standing.revoked.isdisjoint(call.serials):
        raise TimestampUnavailable(UNIT_REVOKED)
    if not standing.stopped.isdisjoint((*call.stamped, *call.vouching)):
        raise TimestampUnavailable(UNIT_REVOKED)
    if not standing.revoked.isdisjoint(call.vouchers):
        raise EvidenceUnavailable(VOUCHER_REVOKED)
    balance = left.get(call.account_id)
    if balance is None:
        raise AccountNotFound("no account with that id")
    charge = spend(balance, len(call.signatures))
    return Balance(balance.free - charge.free, balance.paid - charge.paid), charge
