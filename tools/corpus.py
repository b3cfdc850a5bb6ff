"""Sign every PDF of a folder in the sandbox at B-LT and let independent tools judge the outcome.

    python tools/corpus.py [FOLDER]

Each file is signed validly (Poppler says so, qpdf complains no more than before, pages look the
same), or refused with a code and a reason. Anything else makes the exit code 1.
"""

from __future__ import annotations

import collections
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = ROOT.parent / "shared" / "corpus"
BATCH = 40
PAGES = 5
RESOLUTION = 40
SECONDS = 120


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file: `signed`, `refused` (with a code) or `worse`."""

    name: str
    state: str
    reason: str


def run(*command: str | Path, seconds: int = SECONDS) -> subprocess.CompletedProcess[str]:
    """One tool, its output as text; a tool that hangs counts as failed."""
    words = [str(part) for part in command]
    try:
        return subprocess.run(
            words,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", f"no end after {seconds} s")


def sign(sources: Iterable[Path], target: Path) -> subprocess.CompletedProcess[str]:
    """The public command over some files; `target` is a folder or one file."""
    command: tuple[str | Path, ...] = (
        sys.executable,
        "-m",
        "hashseal.cli",
        "sign",
        *sources,
        "-o",
        target,
    )
    return run(*command, "--level", "B-LT", "--sandbox", "--json", seconds=20 * SECONDS)


def qpdf(path: Path) -> int:
    """`qpdf --check`: 0 clean, 1 warnings, 2 errors."""
    return {0: 0, 3: 1}.get(run("qpdf", "--check", path).returncode, 2)


def rendering(path: Path, folder: Path) -> Sequence[bytes]:
    """The first pages as pictures; nothing when Poppler cannot draw them."""
    for old in folder.glob("page*"):
        old.unlink()
    run("pdftoppm", "-r", str(RESOLUTION), "-l", str(PAGES), path, folder / "page")
    return [page.read_bytes() for page in sorted(folder.glob("page*"))]


def newest_verdict(report: str) -> str:
    """What Poppler says of the signature of our kind that covers most of the file."""
    best, verdict = -1, ""
    for block in report.split("Signature #")[1:]:
        ranges = re.search(r"Signed Ranges: .*- (\d+)\]", block)
        said = re.search(r"- Signature Validation: (.*)", block)
        if "ETSI.CAdES.detached" in block and ranges and said and int(ranges[1]) > best:
            best, verdict = int(ranges[1]), said[1].strip()
    return verdict


def faults(before: Path, after: Path, folder: Path) -> str:
    """What is wrong with the signed file; empty when nothing is."""
    if after.read_bytes()[: before.stat().st_size] != before.read_bytes():
        return "the input is not the beginning of the output"
    verdict = newest_verdict(run("pdfsig", "-nocert", "-no-ocsp", after).stdout)
    if verdict != "Signature is Valid.":
        return f"pdfsig: {verdict or 'sees no signature'}"
    if qpdf(after) > qpdf(before):
        return "qpdf --check complains more than before"
    pages = rendering(before, folder)
    if pages and pages != rendering(after, folder):
        return "pages look different"
    return ""


def refusal(source: Path, folder: Path) -> Outcome:
    """Sign this file alone and read the code and the reason of the refusal."""
    target = folder / "alone.pdf"
    target.unlink(missing_ok=True)
    said = sign([source], target)
    text = said.stdout + said.stderr
    code = re.search(r'"code"\s*:\s*"([a-z-]+)"', text)
    detail = re.search(r'"detail"\s*:\s*("(?:[^"\\]|\\.)*")', text)
    if said.returncode and code and code[1] != "internal" and not target.exists():
        reason = json.loads(detail[1]) if detail else ""
        return Outcome(source.name, "refused", f"{code[1]}: {reason}")
    return Outcome(source.name, "worse", text.strip()[-120:] or "no output and no reason")


def judge(sources: Sequence[Path], folder: Path) -> Iterable[Outcome]:
    """Sign a batch with one call, then look at each file."""
    copies = folder / "in"
    out = folder / "out"
    pictures = folder / "pictures"
    for each in (copies, out, pictures):
        each.mkdir(exist_ok=True)
    numbered = {}
    for number, source in enumerate(sources):
        copy = copies / f"{number:04d}.pdf"
        copy.write_bytes(source.read_bytes())
        numbered[copy] = source
    sign(numbered, out)
    for copy, source in numbered.items():
        made = sorted(out.glob(f"{copy.stem}*.pdf"))
        if not made:
            found = refusal(copy, folder)
            yield Outcome(source.name, found.state, found.reason)
            continue
        wrong = faults(copy, made[0], pictures)
        yield Outcome(source.name, "worse" if wrong else "signed", wrong or "valid")
        made[0].unlink()


def main() -> int:
    """Print the table; exit code 0 when every file was signed validly or refused with a reason."""
    corpus = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    files = sorted(corpus.rglob("*.pdf")) if corpus.is_dir() else []
    if not files:
        print(f"no PDF files in {corpus}", file=sys.stderr)
        return 1
    counts: collections.Counter[str] = collections.Counter()
    print(f"{'outcome':8}  {'file':60}  reason")
    with tempfile.TemporaryDirectory() as name:
        os.environ.setdefault("HASHSEAL_SANDBOX_DIR", str(Path(name) / "sandbox"))
        for start in range(0, len(files), BATCH):
            folder = Path(name) / str(start)
            folder.mkdir()
            for outcome in judge(files[start : start + BATCH], folder):
                counts[outcome.state] += 1
                print(f"{outcome.state:8}  {outcome.name[:60]:60}  {outcome.reason}", flush=True)
    share = 100 * counts["signed"] / len(files)
    print(
        f"{len(files)} files: {counts['signed']} signed valid ({share:.1f} %), "
        f"{counts['refused']} refused with a reason, {counts['worse']} neither"
    )
    return int(bool(counts["worse"]))


if __name__ == "__main__":
    sys.exit(main())
