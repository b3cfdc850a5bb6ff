"""How much work reading one document may cost, so that no file keeps a process busy.

Every part of the reader that a file can make long or large pays from one allowance. The prices are
chosen so that a whole allowance is spent in a few seconds and within 512 MiB.
"""

from __future__ import annotations

from hashseal_core.errors import PdfLimit

OCTETS = 256 << 20
TOKEN = 64
"""Price of one token that is kept as an object, in octets."""
ENTRY = 256
"""Price of one cross-reference entry or subsection that is kept."""
SLOW = 16
"""Price of one octet that a predictor changed."""
SLOWEST = 64
"""Price of one octet of LZW."""


class Allowance:
    """What is left of the work for one document, in octets."""

    __slots__ = ("left",)

    def __init__(self, octets: int = OCTETS) -> None:
        self.left = octets

    def spend(self, octets: int) -> None:
        """Pay for work.

        Raises:
            PdfLimit: nothing is left.
        """
        self.left -= octets
        if self.left < 0:
            raise PdfLimit("the file needs more work to be read than any honest one")
