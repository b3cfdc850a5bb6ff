"""The objects of ISO 32000 as Python values, and how they are written (7.3).

Numbers that are not integers keep the bytes they had, so that an object that is written again says
what it said before.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias


class Name(bytes):
    """A name without its slash, escapes resolved. Compares equal to plain bytes."""

    __slots__ = ()


class Raw(bytes):
    """A token kept as it stood in the file: reals, and whatever is not understood."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class String:
    """A string object; `value` is decrypted. `clear` strings are never encrypted when written."""

    value: bytes
    hexadecimal: bool = False
    clear: bool = False


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to an indirect object."""

    number: int
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream object: its dictionary and its raw octets, still encoded and encrypted."""

    dictionary: Dictionary
    raw: bytes


Dictionary: TypeAlias = "dict[bytes, PdfObject]"
PdfObject: TypeAlias = (
    "bool | int | Raw | Name | String | Ref | list[PdfObject] | Dictionary | Stream | None"
)

_UNSAFE_IN_NAME = re.compile(rb"[^!-~]|[()<>\[\]{}/%#]")
_UNSAFE_IN_STRING = re.compile(rb"[()\\\r\n]")
_STRING_ESCAPES = {b"\r": b"\\r", b"\n": b"\\n"}


def write_name(name: bytes) -> bytes:
    """The name with its slash and escapes (7.3.5)."""
    if name.isalnum():
        return b"/" + name
    return b"/" + _UNSAFE_IN_NAME.sub(lambda match: b"#%02X" % match[0][0], name)


def write_string(string: String) -> bytes:
    """The string as literal or hexadecimal string (7.3.4)."""
    if string.hexadecimal:
        return b"<" + string.value.hex().upper().encode() + b">"
    escaped = _UNSAFE_IN_STRING.sub(
        lambda match: _STRING_ESCAPES.get(match[0], b"\\" + match[0]), string.value
    )
    return b"(" + escaped + b")"


def write(value: PdfObject) -> bytes:
    """The bytes of an object; a stream's with its keywords."""
    return _WRITERS[type(value)](value)


def _write_dictionary(value: Dictionary) -> bytes:
    entries = [
        b"%b %b\n" % (b"/" + key if key.isalnum() else write_name(key), _WRITERS[type(item)](item))
        for key, item in value.items()
    ]
    return b"<<\n%b>>" % b"".join(entries)


def _write_stream(value: Stream) -> bytes:
    dictionary = _write_dictionary({**value.dictionary, b"Length": len(value.raw)})
    return b"%b\nstream\n%b\nendstream" % (dictionary, value.raw)


_WRITERS: dict[type, Callable[[Any], bytes]] = {
    Name: write_name,
    Ref: lambda value: b"%d %d R" % (value.number, value.generation),
    dict: _write_dictionary,
    int: lambda value: b"%d" % value,
    list: lambda value: b"[%b]" % b" ".join([write(item) for item in value]),
    Raw: bytes,
    String: write_string,
    bool: lambda value: b"true" if value else b"false",
    type(None): lambda _: b"null",
    Stream: _write_stream,
}


def text_string(text: str) -> String:
    """A text string: ASCII as it is, all else UTF-16BE with its mark (7.9.2.2)."""
    if text.isascii() and text.isprintable():
        return String(text.encode("ascii"))
    return String(b"\xfe\xff" + text.encode("utf-16-be", "replace"), hexadecimal=True)


def text_of(value: PdfObject) -> str:
    """The text of a text string; the empty text for anything else."""
    if not isinstance(value, String):
        return ""
    if value.value.startswith(b"\xfe\xff"):
        return value.value[2:].decode("utf-16-be", "replace")
    if value.value.startswith(b"\xff\xfe"):
        return value.value[2:].decode("utf-16-le", "replace")
    if value.value.startswith(b"\xef\xbb\xbf"):
        return value.value[3:].decode("utf-8", "replace")
    return value.value.decode("latin-1")


def date_string(moment: datetime) -> String:
    """A date (7.9.4) with the offset from universal time."""
    offset = moment.utcoffset() or timedelta()
    minutes = int(offset.total_seconds()) // 60
    stamp = moment.strftime("D:%Y%m%d%H%M%S")
    if not minutes:
        return String((stamp + "Z").encode())
    sign = "+" if minutes > 0 else "-"
    hours, rest = divmod(abs(minutes), 60)
    return String(f"{stamp}{sign}{hours:02}'{rest:02}'".encode())


def as_dictionary(value: PdfObject) -> Dictionary:
    """The value if it is a dictionary (or a stream's), else an empty one."""
    if isinstance(value, Stream):
        return value.dictionary
    return value if isinstance(value, dict) else {}


def as_array(value: PdfObject) -> list[PdfObject]:
    """The value if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def as_integer(value: PdfObject, default: int = 0) -> int:
    """The value if it is an integer, else the default."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default
