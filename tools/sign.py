"""`make sign`: sign one file in the sandbox and print what a person wants to know about it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from hashseal import sandbox, validation
from hashseal.client.signing import SigningResult, sign
from hashseal_core.algorithms import Level
from hashseal_core.errors import HashsealError
from hashseal_core.problems import problem_of


def main(source: str, output: str, level: str) -> int:
    """Sign, report; 0 only when independent software confirms the signature."""
    if not source:
        print("say which file: make sign PDF=path/to/file.pdf", file=sys.stderr)
        return 2
    path = Path(source)
    target = Path(output) if output else path.with_name(f"{path.stem}.signed.pdf")
    try:
        with sandbox.running() as opened:
            again = is_signed_version(path, target)
            workflow = sign(path, target, level=Level(level), overwrite=again)
            result = opened.client.run(workflow)
            anchor = opened.trust_anchor
    except HashsealError as error:
        row = problem_of(error)
        print(f"error: {error.detail} ({row.code})\n       {row.action}", file=sys.stderr)
        return 1
    say(result)
    print("What independent software says (offline, sandbox root as trust anchor)")
    said = pdfsig(target)
    try:
        report = validation.validate(target, [anchor])
    except HashsealError as error:
        # Some forms of PDF are read by everybody but the validator.
        print(f"  pyHanko    {error.detail}")
        valid = bool(said) and all(line.endswith("Signature is Valid.") for line in said)
    else:
        print(f"  pyHanko    {report.verdict}: {report.words}")
        valid = report.verdict == "valid"
    for line in said:
        print(f"  pdfsig     {line}")
    if not valid:
        print(f"{target} was signed, but is not confirmed by the software above", file=sys.stderr)
    return 0 if valid else 1


def is_signed_version(source: Path, target: Path) -> bool:
    """The target is an earlier result for this very source, so that nothing is lost with it."""
    if not (source.is_file() and target.is_file() and not target.samefile(source)):
        return False
    size = source.stat().st_size
    with source.open("rb") as left, target.open("rb") as right:
        while piece := left.read(1 << 20):
            if right.read(len(piece)) != piece:
                return False
    return target.stat().st_size > size


def say(result: SigningResult) -> None:
    """What was sent and what came back."""
    size = result.source.stat().st_size
    print(f"\n{result.source} → {result.output}\n")
    print("What was sent")
    print(f"  {result.digest.algorithm}    {result.digest.value.hex()}")
    print(f"  in all     {result.octets_sent} octets; the document ({size} octets) stayed here\n")
    print("What came back")
    print(f"  signature  {result.level}, by {result.subject}")
    if result.timestamp:
        print(f"  timestamp  {result.timestamp.time:%Y-%m-%d %H:%M:%S} UTC")
    if found := result.validation:
        counts = (len(found.certificates), len(found.ocsp_responses), len(found.crls))
        print("  evidence   {} certificates, {} OCSP responses, {} CRLs".format(*counts))
    print()


def pdfsig(path: Path) -> list[str]:
    """Poppler's verdict, where it is installed."""
    if shutil.which("pdfsig") is None:
        return []
    outcome = subprocess.run(
        ["pdfsig", "-nocert", str(path)], capture_output=True, text=True, check=False
    )
    return [
        line.strip(" -") for line in outcome.stdout.splitlines() if "Signature Validation" in line
    ]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
