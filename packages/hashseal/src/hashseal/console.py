"""What the command line prints: one JSON object a file for machines, a few lines for people."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from hashseal import pdf
from hashseal_core.errors import HashsealError
from hashseal_core.problems import problem_of

_err = Console(stderr=True)
_WIDTH = 100


def each(
    files: list[Path],
    work: Callable[[Path], dict[str, Any]],
    say: Callable[[dict[str, Any]], None],
    *,
    as_json: bool,
    jobs: int = 1,
) -> list[dict[str, Any] | None]:
    """Do the work for each file and tell its outcome; None where it failed."""

    def guarded(source: Path) -> dict[str, Any] | HashsealError:
        try:
            return work(source)
        except HashsealError as error:
            return error

    told: list[dict[str, Any] | None] = []
    hidden = as_json or not _err.is_terminal
    with Progress(console=_err, transient=True, disable=hidden) as progress:
        total = len(files) if len(files) > 1 else None
        task = progress.add_task(files[0].name if len(files) == 1 else "files", total=total)
        with ThreadPoolExecutor(jobs) as pool:
            for source, outcome in zip(files, pool.map(guarded, files), strict=True):
                progress.advance(task)
                if isinstance(outcome, HashsealError):
                    complain(source, outcome, as_json=as_json)
                    told.append(None)
                    continue
                if as_json:
                    print(json.dumps(outcome, default=str), flush=True)
                else:
                    say(outcome)
                told.append(outcome)
    return told


def complain(source: Path | None, error: HashsealError, *, as_json: bool) -> None:
    """One error: what is wrong, its code, and what to do."""
    row = problem_of(error)
    if as_json:
        shown = {"code": row.code, "detail": error.detail, "action": row.action}
        print(json.dumps({"file": str(source), **shown} if source else shown))
        return
    place = f"{source}: " if source else ""
    _err.print(f"error: {place}{error.detail} ({row.code})", markup=False, highlight=False)
    _err.print(f"       {row.action}", markup=False, highlight=False)


def complain_of_system(error: OSError) -> None:
    """An error of the operating system in one line."""
    _err.print(f"error: {error.strerror}: {error.filename}", markup=False, highlight=False)


def say_signed(made: dict[str, Any]) -> None:
    """What became of a file that was signed."""
    print(f"{made['output']}: signed, {made['level']}")
    print(f"  sent      {made['hash_algorithm']} {made['hash']} ({made['octets_sent']} octets)")
    print(f"  signer    {made['subject']}")
    if made["timestamp"]:
        print(f"  timestamp {made['timestamp']['time']}, serial {made['timestamp']['serial']}")
    if found := made["validation"]:
        print(
            f"  evidence  {found['certificates']} certificates, {found['ocsp_responses']} OCSP "
            f"responses, {found['crls']} CRLs"
        )
    _warn_of_covered(made["covered_fields"])
    print(f"  charged   {made['charged']} call, signature {made['signature']}")
    _warn_of_findings(made)


def say_prepared(made: dict[str, Any]) -> None:
    """Where the two halves of a prepared signing are."""
    print(f"{made['output']}: prepared, waits for its signature")
    print(f"  hash      {made['hash_algorithm']} {made['hash']}")
    _warn_of_covered(made["covered_fields"])
    print(f"  state     {made['state']} (hashseal resume {made['state']})")
    _warn_of_findings(made)


def _warn_of_covered(fields: list[str]) -> None:
    if fields:
        print(f"  warning   the seal covers: {', '.join(fields)}")


def _warn_of_findings(made: dict[str, Any]) -> None:
    """What preflight found, one line each; a file that was resumed was searched before."""
    if "findings" not in made:
        return
    found = made["findings"]
    held = [f"holds {pdf.Finding(**one).words}" for one in found or ()]
    for line in ["could not be searched"] if found is None else held:
        text = f"warning: {made['file']}: {line}"
        _err.print(text, markup=False, highlight=False, soft_wrap=True)


def say_extended(made: dict[str, Any]) -> None:
    """What was added to a signed file."""
    print(f"{made['output']}: extended")
    print(f"  timestamp {made['timestamp']['time']}, serial {made['timestamp']['serial']}")
    found = made["added"]
    print(
        f"  evidence  {found['certificates']} certificates, {found['ocsp_responses']} OCSP "
        f"responses, {found['crls']} CRLs"
    )
    for subject, reason in made["without_evidence"]:
        print(f"  note      no fresh evidence for {subject} ({reason})")


def say_report(found: dict[str, Any]) -> None:
    """A validation report for a person."""
    why = f" ({found['code']})" if found["code"] != found["verdict"] else ""
    print(f"{found['file']}: {found['verdict'].upper()}{why}")
    print(f"  {found['words']}")
    for one in found["signatures"]:
        mark = "✓" if one["integrity"] and one["trusted"] else "✗"
        print(f"  {mark} {one['field']} ({one['kind']}, {one['level']}): {one['signer']}")
        _lines(
            (
                f"time {_moment(one['time'])} ({one['time_source']})",
                f"trust anchor {one['trust_anchor'] or 'none'}",
                f"after it: {one['changes']}; revocation: {one['revocation']}",
                *one["problems"],
            )
        )
    if found.get("valid_until"):
        print(f"  can be shown until {_moment(found['valid_until'])}; extend before then")
    if found.get("next_level"):
        print(f"  next: {found['next_level']}")


def say_inspected(found: dict[str, Any]) -> None:
    """What a file is."""
    width = min(shutil.get_terminal_size((_WIDTH, 24)).columns, _WIDTH)
    for name, value in found.items():
        if name not in {"signatures", "findings"}:
            print(f"{name:24} {value}"[:width])
    if found["findings"] is None:
        print(f"{'finding':24} could not be searched")
    for one in found["findings"] or ():
        print(f"{'finding':24} {pdf.Finding(**one).words}")
    for one in found["signatures"]:
        print(f"{one['kind']:24} {one['field_name']} {one['subfilter']} {one['byte_range']}")


def _lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"      {line}")


def _moment(text: object) -> str:
    """A time to the second; the report's own octets have it exactly."""
    return str(text)[:19].replace("T", " ") + " UTC" if text else "unknown"
