"""Arithmetic of calls and money; free calls go first, nothing ever goes below zero."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from hashseal_core.errors import InvalidValue, QuotaExhausted

UNIT_PRICE = Decimal("0.49")
# From this many calls in one order, this price a call (US dollars).
TIERS: tuple[tuple[int, Decimal], ...] = (
    (1, UNIT_PRICE),
    (1_000, Decimal("0.45")),
    (10_000, Decimal("0.39")),
    (100_000, Decimal("0.29")),
)


LOW_PERCENT, LOW_CALLS = 10, 10
"""An account is told that it runs low at this share of what it had, or at so many calls."""


class Balance(Struct, frozen=True):
    """Calls left."""

    free: int
    paid: int


NOTHING_LEFT = Balance(0, 0)


class Charge(Struct, frozen=True):
    """How a number of calls is paid for."""

    free: int
    paid: int


def spend(balance: Balance, calls: int) -> Charge:
    """How `calls` are paid from `balance`.

    Raises:
        QuotaExhausted: there are not enough.
    """
    if calls > balance.free + balance.paid:
        raise QuotaExhausted(
            f"{calls} calls asked for, {balance.free + balance.paid} left: buy calls to go on"
        )
    free = min(calls, balance.free)
    return Charge(free, calls - free)


def unit_price(calls: int) -> Decimal:
    """The list price of one call in an order of `calls`.

    Raises:
        InvalidValue: not a positive number of calls.
    """
    if calls < 1:
        raise InvalidValue("an order is for at least one call", field="calls")
    return next(price for least, price in reversed(TIERS) if calls >= least)


def low_at(had: int, percent: int, calls: int) -> int:
    """With how many calls left an account is low that `had` so many when it last bought some."""
    return max(calls, -(-had * percent // 100))
