"""What a font draws becomes segments that are filled, whatever its outlines are."""

from __future__ import annotations

from hashseal_core.glyphs import _Pen


def test_an_outline_that_is_left_open_is_closed() -> None:
    pen = _Pen({}, 1000.0)
    pen.moveTo((0, 0))
    pen.lineTo((500, 0))
    pen.curveTo((500, 250), (250, 500), (0, 500))
    pen.endPath()
    assert [one.command for one in pen.segments] == ["M", "L", "C", "Z"]
    assert pen.segments[1].points[0].x == 0.5
