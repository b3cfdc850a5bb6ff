"""Static files of the package: kept for a year by browsers, since their address names their digest.

One digest covers all, so that files may name each other by relative addresses.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from hashseal_core.errors import NotFound
from hashseal_gateway.web.parts import AnyRequest

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".wasm": "application/wasm",
    ".bcmap": "application/octet-stream",
    ".pfb": "application/octet-stream",
    ".ttf": "font/ttf",
}
"""What is served, by suffix; other files in the folder are not."""
_PACKED = frozenset({".css", ".js", ".mjs", ".json", ".svg"})
_WORTH_PACKING = 1024
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file; `packed` is gzip, where it saves something."""

    octets: bytes
    packed: bytes | None
    media_type: str


class Assets:
    """Every file of a folder, read once."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, Asset] = {}
        digest = hashlib.sha256()
        for path in sorted(folder.rglob("*")):
            if path.suffix not in TYPES or not path.is_file():
                continue
            name, octets = path.relative_to(folder).as_posix(), path.read_bytes()
            digest.update(f"{name}\0{len(octets)}\0".encode() + octets)
            packed = None
            if path.suffix in _PACKED and len(octets) > _WORTH_PACKING:
                packed = gzip.compress(octets, mtime=0)
            self._files[name] = Asset(octets, packed, TYPES[path.suffix])
        self.digest = digest.hexdigest()[:20]

    def address(self, name: str) -> str:
        """Where a file is served; names are relative to the folder.

        Raises:
            KeyError: there is no such file, which is a fault of a template.
        """
        if name not in self._files:
            raise KeyError(name)
        return f"/static/{self.digest}/{name}"

    def find(self, name: str) -> Asset | None:
        """A file, if there is one."""
        return self._files.get(name)


@lru_cache(maxsize=1)
def assets() -> Assets:
    """Those of this package."""
    return Assets(FOLDER)


def routes() -> list[HTTPRouteHandler]:
    """The handler."""
    known = assets()

    @get("/static/{digest:str}/{name:path}")
    async def static(
        request: AnyRequest, digest: FromPath[str], name: FromPath[str]
    ) -> Response[Any]:
        found = known.find(str(name).lstrip("/"))
        if found is None:
            raise NotFound("there is nothing at this address")
        headers = {
            # A page of before an upgrade still finds its files, but does not keep them.
            "Cache-Control": _FOR_EVER if digest == known.digest else "no-cache",
            "Vary": "Accept-Encoding",
        }
        octets = found.octets
        if found.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            octets = found.packed
            headers["Content-Encoding"] = "gzip"
        return Response(octets, media_type=found.media_type, headers=headers)

    return [static]
