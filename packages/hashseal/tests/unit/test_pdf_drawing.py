"""A seal's picture is read as the service writes it; everything else is refused as a whole."""

from __future__ import annotations

import hashlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashseal.pdf import read_drawing
from hashseal.pdf.drawing import MAXIMUM_NUMBERS, MAXIMUM_OCTETS, Step
from hashseal_core.errors import AppearanceInvalid
from hashseal_server.seals.drawing import SealData, draw

HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="42mm" height="42mm" '
    'viewBox="0 0 8400 8400" fill="#d4101e">\n<title>Official seal: A</title>\n'
)
PATH = '<path d="M0 0L10 -5C1 2 3 4 5 6Z"/>\n'
GOOD = f"{HEAD}{PATH}</svg>\n"


def test_what_the_service_writes_is_read() -> None:
    for data in (
        SealData("contract", "深圳市晨光电子商务有限公司", "91440300MA5F8X7Y2Q"),
        SealData("finance", "A & B <c> \"d\" 'e'", "1"),
        SealData("personal", "王小明"),
        SealData("personal", "José Nuñez"),
    ):
        made = draw(data)
        read = read_drawing(made.svg())
        assert (read.width, read.height) == pytest.approx((made.width, made.height), abs=0.003)
        assert "#{:02x}{:02x}{:02x}".format(*read.colour) == made.colour
        assert read.title == made.title
        assert read.digest == hashlib.sha256(made.svg()).hexdigest()
        assert [len(path) for path in read.paths] == [len(area) for area in made.areas if area]


def test_commands_and_their_coordinates() -> None:
    read = read_drawing(GOOD.encode())
    assert read.paths == (
        (Step("M", (0, 0)), Step("L", (10, -5)), Step("C", (1, 2, 3, 4, 5, 6)), Step("Z", ())),
    )
    assert (read.units, read.colour) == ((8400, 8400), (0xD4, 0x10, 0x1E))


HOSTILE = {
    "nothing": "",
    "declaration": f'<?xml version="1.0"?>\n{GOOD}',
    "doctype": f'<!DOCTYPE svg [<!ENTITY a "b">]>\n{GOOD}',
    "entity": GOOD.replace("seal: A", "&a;"),
    "character reference": GOOD.replace("seal: A", "&#65;"),
    "script": GOOD.replace("</svg>", "<script>alert(1)</script></svg>"),
    "handler": GOOD.replace("<path d", '<path onclick="x" d'),
    "style": GOOD.replace("</svg>", "<style>path{}</style></svg>"),
    "image": GOOD.replace("</svg>", '<image href="file:///etc/passwd"/></svg>'),
    "use": GOOD.replace("</svg>", '<use href="http://a.example.com/x"/></svg>'),
    "text": GOOD.replace("</svg>", "<text>paid</text></svg>"),
    "comment": GOOD.replace("</svg>", "<!-- --></svg>"),
    "transform": GOOD.replace("<path d", '<path transform="scale(9)" d'),
    "other colour": GOOD.replace("#d4101e", "url(#a)"),
    "relative": GOOD.replace("M0 0L", "m0 0L"),
    "arc": GOOD.replace("L10 -5", "A1 1 0 0 0 3 3"),
    "begins elsewhere": GOOD.replace("M0 0L", "L0 0L"),
    "odd coordinates": GOOD.replace("L10 -5", "L10 -5 3"),
    "missing coordinates": GOOD.replace("L10 -5", "L"),
    "coordinates that close": GOOD.replace("Z", "Z1 2"),
    "reals": GOOD.replace("L10 -5", "L10.5 -5"),
    "exponents": GOOD.replace("L10 -5", "L1e9 -5"),
    "huge": GOOD.replace("L10 -5", "L10000000 -5"),
    "zeros": GOOD.replace("L10 -5", "L010 -5"),
    "no path": f"{HEAD}</svg>\n",
    "empty path": f'{HEAD}<path d=""/>\n</svg>\n',
    "more behind": f"{GOOD}<svg/>",
    "cut": GOOD[:-3],
    "no title": GOOD.replace("<title>Official seal: A</title>\n", ""),
    "two sizes": GOOD.replace('height="42mm"', 'height="12mm"'),
    "other shape": GOOD.replace("0 0 8400 8400", "0 0 8400 840"),
    "too large": GOOD.replace("42mm", "420mm"),
    "no size": GOOD.replace("42mm", "0mm"),
    "control character": GOOD.replace("seal: A", "seal:\x01A"),
    "other name space": GOOD.replace("www.w3.org/2000/svg", "www.w3.org/1999/xhtml"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pictures_are_refused(name: str) -> None:
    with pytest.raises(AppearanceInvalid):
        read_drawing(HOSTILE[name].encode())


def test_too_much_is_refused_soon() -> None:
    many = '<path d="M' + "0 0L" * (MAXIMUM_NUMBERS // 3) + '0 0Z"/>\n'
    for octets in (
        b" " * (MAXIMUM_OCTETS + 1),
        f"{HEAD}{many}{many}</svg>\n".encode()[:MAXIMUM_OCTETS],
        HEAD.encode() + b'<path d="' + b"M0 0" * 200_000,
        HEAD.encode() + b'<path d="M' + b"0 " * 500_000 + b'"/>\n</svg>\n',
        HEAD.replace("Official", "O" * 100_000).encode(),
        b"\xff\xfe",
    ):
        begun = time.monotonic()
        with pytest.raises(AppearanceInvalid):
            read_drawing(octets)
        assert time.monotonic() - begun < 5


@settings(max_examples=300)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 8), st.binary(max_size=6))
def test_mutations_are_refused_or_pictures(place: int, removed: int, put: bytes) -> None:
    changed = GOOD.encode()[:place] + put + GOOD.encode()[place + removed :]
    try:
        read = read_drawing(changed)
    except AppearanceInvalid:
        return
    assert all(path[0].command == "M" for path in read.paths)
    assert all(abs(one) < 10**6 for path in read.paths for step in path for one in step.operands)
