"""Rings, stars and frames as outlines."""

from __future__ import annotations

import math

from hashseal_core.lettering import Outline, Point, Segment

_KAPPA = 4 / 3 * (math.sqrt(2) - 1)
"""How far the control points of a quarter circle stand (radius 1)."""


def _circle(radius: float, middle: Point, *, clockwise: bool) -> Outline:
    k = _KAPPA * radius
    turn = 1 if clockwise else -1

    def at(x: float, y: float) -> Point:
        return Point(middle.x + x, middle.y + turn * y)

    quarters = [
        ((radius, k), (k, radius), (0.0, radius)),
        ((-k, radius), (-radius, k), (-radius, 0.0)),
        ((-radius, -k), (-k, -radius), (0.0, -radius)),
        ((k, -radius), (radius, -k), (radius, 0.0)),
    ]
    curves = [Segment("C", tuple(at(*point) for point in quarter)) for quarter in quarters]
    return (Segment("M", (at(radius, 0),)), *curves, Segment("Z"))


def ring(outer: float, thickness: float, middle: Point = Point(0, 0)) -> Outline:  # noqa: B008
    """A circular line whose outer edge has this radius."""
    return (
        *_circle(outer, middle, clockwise=True),
        *_circle(outer - thickness, middle, clockwise=False),
    )


def polygon(*points: Point) -> Outline:
    """Straight lines from point to point and back."""
    first, *others = points
    return (
        Segment("M", (first,)),
        *(Segment("L", (point,)) for point in others),
        Segment("Z"),
    )


def star(radius: float, middle: Point = Point(0, 0), turn: float = 0.0) -> Outline:  # noqa: B008
    """A five-pointed star, one point up; `turn` in radians, clockwise."""
    inner = radius * math.sin(math.pi / 10) / math.sin(3 * math.pi / 10)
    points = []
    for index in range(10):
        reach = radius if index % 2 == 0 else inner
        angle = turn + index * math.pi / 5
        points.append(Point(middle.x + reach * math.sin(angle), middle.y - reach * math.cos(angle)))
    return polygon(*points)


def frame(half: float, thickness: float, corner: float) -> Outline:
    """A square line with round corners, `half` from the middle to its outer edge."""
    inside = half - thickness
    return (
        *_square(half, corner, clockwise=True),
        *_square(inside, max(0.0, corner - thickness), clockwise=False),
    )


def _square(half: float, corner: float, *, clockwise: bool) -> Outline:
    straight, bent = half - corner, half - corner + _KAPPA * corner
    turn = 1 if clockwise else -1

    def at(x: float, y: float) -> Point:
        return Point(x, turn * y)

    sides = [
        ((straight, -half), ((bent, -half), (half, -bent), (half, -straight))),
        ((half, straight), ((half, bent), (bent, half), (straight, half))),
        ((-straight, half), ((-bent, half), (-half, bent), (-half, straight))),
        ((-half, -straight), ((-half, -bent), (-bent, -half), (-straight, -half))),
    ]
    found = [Segment("M", (at(-straight, -half),))]
    for end, curve in sides:
        found.append(Segment("L", (at(*end),)))
        found.append(Segment("C", tuple(at(*point) for point in curve)))
    return (*found, Segment("Z"))


def rule(length: float, thickness: float, middle: Point) -> Outline:
    """A horizontal line."""
    x, y = length / 2, thickness / 2
    return polygon(
        Point(middle.x - x, middle.y - y),
        Point(middle.x + x, middle.y - y),
        Point(middle.x + x, middle.y + y),
        Point(middle.x - x, middle.y + y),
    )
