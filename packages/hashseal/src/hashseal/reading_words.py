"""The process that looks for words; see `hashseal.anchoring`.

Reads one JSON object from standard input and writes one to standard output.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

MAXIMUM_FOUND = 1000


def main() -> None:
    """Limit this process, look, answer."""
    octets, seconds = int(sys.argv[1]), float(sys.argv[2])
    _limit(octets, int(seconds) + 1)
    asked = json.loads(sys.stdin.buffer.read())
    try:
        pdfium: Any = importlib.import_module("pypdfium2")
    except ModuleNotFoundError:
        answer: dict[str, object] = {"missing": True}
    else:
        answer = _look(pdfium, asked["path"], asked["text"], asked["password"])
    sys.stdout.write(json.dumps(answer))


def _limit(octets: int, seconds: int) -> None:
    """Where the system can do it; elsewhere only the caller's watch ends this process.

    A caller that is limited itself may not be exceeded.
    """
    try:
        resource: Any = importlib.import_module("resource")
    except ModuleNotFoundError:
        return
    for what, most in ((resource.RLIMIT_AS, octets), (resource.RLIMIT_CPU, seconds)):
        _, granted = resource.getrlimit(what)
        allowed = most if granted == resource.RLIM_INFINITY else min(most, granted)
        resource.setrlimit(what, (allowed, allowed))


def _look(pdfium: Any, path: str, text: str, password: str | None) -> dict[str, object]:
    found: list[list[float]] = []
    try:
        document = pdfium.PdfDocument(path, password=password)
        for number in range(len(document)):
            page = document[number]
            shown = page.get_textpage()
            search = shown.search(text)
            while (hit := search.get_next()) is not None and len(found) < MAXIMUM_FOUND:
                rects = [shown.get_rect(one) for one in range(shown.count_rects(*hit))]
                if rects:
                    lefts, bottoms, rights, tops = zip(*rects, strict=True)
                    found.append([number + 1, min(lefts), min(bottoms), max(rights), max(tops)])
    except pdfium.PdfiumError:
        return {"refused": True}
    return {"words": found}


if __name__ == "__main__":
    main()
