"""Documents out of a zip file: what is really in it counts, not what it says of itself."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import IO

from hashseal_core.errors import DocumentTooLarge, InvalidValue, MalformedRequest

_PIECE = 1 << 20
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 1
_NAME = 200
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, OSError)


def unpack(
    source: Path, folder: Path, *, most_documents: int, most_octets: int, most_each: int
) -> list[str]:
    """Write each document to `folder` under its number; their names, in the archive's order.

    Names are never used as paths. Folders are passed over.

    Raises:
        MalformedRequest: it is no archive that can be read.
        InvalidValue: it holds no document, too many, or one that is encrypted.
        DocumentTooLarge: one, or all together, are larger than they may be.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            # `is_dir` fails where a name is empty.
            found = [one for one in archive.infolist() if not one.filename.endswith("/")]
            if not found:
                raise InvalidValue("the archive holds no document", field="documents")
            if len(found) > most_documents:
                raise InvalidValue(
                    f"a batch has {most_documents} documents at most", field="documents"
                )
            left = most_octets
            for number, one in enumerate(found):
                if one.flag_bits & _ENCRYPTED or one.compress_type not in _METHODS:
                    raise InvalidValue(
                        "the archive holds what is encrypted or packed in another way than deflate",
                        field="documents",
                    )
                with archive.open(one) as reading:
                    left -= _write(reading, folder / str(number), min(left, most_each))
            return [Path(one.filename.replace("\\", "/")).name[:_NAME] for one in found]
    except _BROKEN as error:
        raise MalformedRequest("the archive cannot be read") from error


def _write(reading: IO[bytes], target: Path, most: int) -> int:
    """Write at most so many octets; how many.

    Raises:
        DocumentTooLarge: there are more.
    """
    written = 0
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        while piece := reading.read(_PIECE):
            written += len(piece)
            if written > most:
                raise DocumentTooLarge("a document, or the batch, unpacks to more than is taken")
            file.write(piece)
    return written
