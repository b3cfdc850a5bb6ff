"""How long to wait before something that failed is tried again. Pure; time is an argument."""

from __future__ import annotations

from dataclasses import dataclass

_SECOND = 1_000_000_000


@dataclass(slots=True)
class Backoff:
    """Waits that double with each failure in a row, up to a limit; one success ends them.

    Attributes:
        first, longest: seconds.
        failures: in a row, until now.
    """

    first: float
    longest: float
    failures: int = 0
    _until: int = 0

    def failed(self, at: int) -> float:
        """It failed at this time (nanoseconds of a clock that runs forward); seconds to wait."""
        wait = min(self.longest, self.first * 2.0 ** min(self.failures, 30))
        self.failures += 1
        self._until = at + int(wait * _SECOND)
        return wait

    def succeeded(self) -> None:
        """Nothing has to be waited for."""
        self.failures, self._until = 0, 0

    def waits(self, at: int) -> bool:
        """Whether it is too early at this time."""
        return at < self._until
