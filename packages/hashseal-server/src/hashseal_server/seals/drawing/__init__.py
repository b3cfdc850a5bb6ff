"""The pictures of seals: one colour, outlines only, the same octets for the same data.

Millimetres with the origin in the middle and y downwards, as in SVG. What is drawn is what the
operator said at `seal create`; nothing in here knows accounts, keys or certificates.
"""

from __future__ import annotations

from hashseal_server.seals.drawing.designs import SealData, draw
from hashseal_server.seals.drawing.svg import Picture

__all__ = ["Picture", "SealData", "draw"]
