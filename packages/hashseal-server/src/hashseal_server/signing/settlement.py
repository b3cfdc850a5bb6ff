"""What becomes of each call of a group, given what the database says under lock.

Pure arithmetic, no I/O. One call's refusal is its own: the others are decided as if it had never
come. Calls are taken in order, so the last free call goes to whoever came first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hashseal_core.errors import AccountNotFound, HashsealError, SealRevoked
from hashseal_server.accounts.model import AccountId
from hashseal_server.accounts.quota import Balance, Charge, spend
from hashseal_server.infra.commit import Answer, Delivered, Recorded, RequestIdentity
from hashseal_server.signing.model import Call


@dataclass(frozen=True, slots=True)
class Pending:
    """A call whose signatures are made, waiting for its commit."""

    request: RequestIdentity
    call: Call


@dataclass(frozen=True, slots=True)
class Standing:
    """The locked truth: answers given, calls left, certificates revoked."""

    delivered: Mapping[tuple[str, bytes], Delivered]
    balances: Mapping[AccountId, Balance]
    revoked: frozenset[int]


@dataclass(frozen=True, slots=True)
class Granted:
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
            balance, charge = _charge(call, standing.revoked, left)
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
    call: Call, revoked: frozenset[int], left: Mapping[AccountId, Balance]
) -> tuple[Balance, Charge]:
    if not revoked.isdisjoint(call.serials):
        raise SealRevoked("the seal's certificate has been revoked", field="seal_id")
    balance = left.get(call.account_id)
    if balance is None:
        raise AccountNotFound("no account with that id")
    charge = spend(balance, len(call.signatures))
    return Balance(balance.free - charge.free, balance.paid - charge.paid), charge
