"""A watched folder: what is put in comes out signed in another one, or is set aside with a reason.

A file is taken when it has not changed for a moment. Its output appears whole, in one step, and
beside it a report; only then does the input go. A file that is still there after a kill is signed
again under the key of this very file, which makes the same output and is charged once.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from hashseal_core.errors import (
    ConfigurationInvalid,
    HashsealError,
    OutputRefused,
    QuotaExhausted,
    Unavailable,
)
from hashseal_core.problems import problem_of
from hashseal_gateway.documents.attempts import RESULT, SOURCE, make_durable
from hashseal_gateway.documents.model import Asked, Received, Way
from hashseal_gateway.documents.options import DocumentOptions
from hashseal_gateway.documents.ports import Places
from hashseal_gateway.documents.service import Documents, Result
from hashseal_gateway.documents.work import FIRST_PAUSE, LONGEST_PAUSE
from hashseal_gateway.users.model import Caller, Role

AWAY = (Unavailable, QuotaExhausted, ConfigurationInvalid)
"""Errors for which the whole folder waits; any other is of one file, which is set aside."""
SETTLED_SECONDS = 1.0
_LOOK_SECONDS = 0.5
_PIECE = 1 << 20
_DRAFT = re.compile(r"\..+\.[0-9a-f]{8}\.part")


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands beside each output; `source` names the very file that was put in."""

    file: str
    source: str
    outcome: str
    at: datetime
    digest_before: str
    output: str | None = None
    detail: str | None = None
    action: str | None = None
    document_id: str | None = None
    signature_id: str | None = None
    seal_id: str | None = None
    level: str | None = None
    digest_after: str | None = None
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Folders:
    """Where documents come from and go to; `originals` None removes an input that was signed."""

    inbox: Path
    outbox: Path
    failed: Path
    originals: Path | None = None

    def prepare(self) -> None:
        """Make what is missing; remove drafts that a kill left behind.

        Raises:
            ConfigurationInvalid: there is no inbox, or two of them are one.
            OutputRefused: one cannot be made.
        """
        if not self.inbox.is_dir():
            raise ConfigurationInvalid(f"{self.inbox} is not a folder")
        others = [one for one in (self.outbox, self.failed, self.originals) if one is not None]
        try:
            for one in others:
                one.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputRefused(f"{error.filename} cannot be made: {error.strerror}") from error
        if any(one.samefile(self.inbox) for one in others):
            raise ConfigurationInvalid("the folder that is watched cannot be one of the others")
        for one in others:
            for draft in one.iterdir():
                if _DRAFT.fullmatch(draft.name):
                    draft.unlink(missing_ok=True)


class Watch:
    """Looks into the inbox again and again."""

    def __init__(
        self,
        folders: Folders,
        documents: Documents,
        places: Places,
        options: DocumentOptions,
        *,
        at_once: int,
        tell: Callable[[Report], None],
        now: Callable[[], datetime],
    ) -> None:
        self._folders = folders
        self._documents = documents
        self._places = places
        self._options = options
        self._at_once = at_once
        self._tell = tell
        self._now = now
        self._seen: dict[Path, os.stat_result] = {}

    async def run(self, *, until_empty: bool = False) -> None:
        """Look until cancelled, or until nothing is left.

        Raises:
            HashsealError: with `until_empty`, if the service is away.
        """
        pause = FIRST_PAUSE
        while True:
            ready, waiting = self._look()
            try:
                await self._take(ready)
                pause = FIRST_PAUSE
            except AWAY:
                if until_empty:
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            if until_empty and not ready and not waiting:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def _look(self) -> tuple[list[Path], bool]:
        """Files that have not changed for a moment, oldest first; whether there are others."""
        found = {one: one.stat() for one in self._inputs()}
        ready = [
            one
            for one, seen in found.items()
            if _same(self._seen.get(one), seen) and time.time() - seen.st_mtime >= SETTLED_SECONDS
        ]
        self._seen = found
        return sorted(ready, key=lambda one: found[one].st_mtime), len(ready) < len(found)

    def _inputs(self) -> Iterable[Path]:
        for one in self._folders.inbox.iterdir():
            plain = one.is_file() and not one.is_symlink() and not one.name.startswith(".")
            if plain and one.suffix.lower() == ".pdf":
                yield one

    async def _take(self, files: list[Path]) -> None:
        """Some at the same time; the first that finds the service away ends the round.

        Raises:
            HashsealError: one of `AWAY`.
        """
        for start in range(0, len(files), self._at_once):
            together = [self._one(file) for file in files[start : start + self._at_once]]
            for outcome in await asyncio.gather(*together, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome

    async def _one(self, file: Path) -> None:
        identity = secrets.token_hex(12)
        place = self._places.new_place(identity)
        try:
            seen = await asyncio.to_thread(file.stat)
            received = await asyncio.to_thread(_copied, file, place / SOURCE)
            source = _name_of(file, seen, received.digest)
            caller = folder_caller(self._folders.inbox)
            asked = Asked(
                id=identity,
                caller=caller,
                way=Way.FOLDER,
                options=self._options,
                request_key=self._documents.request_key(caller.id, source),
            )
            try:
                made = await self._documents.sign(asked, received, place / RESULT)
            except AWAY:
                raise
            except HashsealError as error:
                await asyncio.to_thread(self._set_aside, file, seen, source, received, error)
            else:
                await asyncio.to_thread(self._deliver, file, seen, source, made)
        except FileNotFoundError:
            pass  # somebody took it away
        finally:
            await asyncio.to_thread(self._places.discard, identity)

    def _deliver(self, file: Path, seen: os.stat_result, source: str, made: Result) -> None:
        """Report, then output, then the input goes: each in one step."""
        document = made.document
        target = self._free(file, source)
        report = Report(
            file=file.name,
            source=source,
            outcome="signed",
            at=self._now(),
            digest_before=document.digest_before,
            output=target.name,
            document_id=document.id,
            signature_id=document.signature_id,
            seal_id=document.seal_id,
            level=document.level,
            digest_after=document.digest_after,
            findings=document.findings,
        )
        _write(_beside(target), msgspec.json.format(msgspec.json.encode(report)) + b"\n")
        made.path.chmod(seen.st_mode & 0o777)
        _move(made.path, target)
        if _same(seen, file.stat()):
            if self._folders.originals is None:
                file.unlink()
            else:
                _move(file, _numbered(self._folders.originals / file.name))
        self._tell(report)

    def _set_aside(
        self,
        file: Path,
        seen: os.stat_result,
        source: str,
        received: Received,
        error: HashsealError,
    ) -> None:
        row = problem_of(error)
        target = _numbered(self._folders.failed / file.name)
        report = Report(
            file=file.name,
            source=source,
            outcome=row.code,
            at=self._now(),
            digest_before=received.digest,
            output=target.name,
            detail=error.detail,
            action=row.action,
        )
        _write(_beside(target), msgspec.json.format(msgspec.json.encode(report)) + b"\n")
        if _same(seen, file.stat()):
            _move(file, target)
        self._tell(report)

    def _free(self, file: Path, source: str) -> Path:
        """A name in the outbox that nobody has, or that an attempt at this very file took."""
        wanted = self._folders.outbox / file.name
        for number in range(1, 1_000_000):
            target = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
            if not target.exists() or _source_of(_beside(target)) == source:
                return target
        raise OutputRefused(f"{self._folders.outbox} has too many files of one name")


def folder_caller(inbox: Path) -> Caller:
    """Who asks: the folder itself, with the rights of whoever may write into it."""
    path = str(inbox.resolve())
    identity = hashlib.sha256(path.encode()).hexdigest()[:16]
    return Caller("folder", identity, path, Role.OPERATOR)


def _name_of(file: Path, seen: os.stat_result, digest: str) -> str:
    """One name for this very file: put in once more, it is another."""
    parts = (file.name, seen.st_dev, seen.st_ino, seen.st_mtime_ns, digest)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _same(left: os.stat_result | None, right: os.stat_result) -> bool:
    if left is None:
        return False
    return (left.st_ino, left.st_size, left.st_mtime_ns) == (
        right.st_ino,
        right.st_size,
        right.st_mtime_ns,
    )


def _copied(file: Path, target: Path) -> Received:
    digest, size = hashlib.sha256(), 0
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as writing, file.open("rb") as reading:
        while piece := reading.read(_PIECE):
            writing.write(piece)
            digest.update(piece)
            size += len(piece)
    return Received(target, size, digest.hexdigest())


def _beside(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _source_of(report: Path) -> str | None:
    try:
        return msgspec.json.decode(report.read_bytes(), type=Report).source
    except (OSError, msgspec.DecodeError):
        return None


def _numbered(wanted: Path) -> Path:
    """This name, or with a number if it is taken."""
    number, found = 1, wanted
    while found.exists():
        number += 1
        found = wanted.with_stem(f"{wanted.stem}-{number}")
    return found


def _write(target: Path, octets: bytes) -> None:
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        draft.write_bytes(octets)
        make_durable(draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    """Whole or not at all, also from another file system."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            os.link(source, draft)
        except OSError:
            shutil.copyfile(source, draft)
        make_durable(draft)
        draft.replace(target)
        make_durable(target)
        source.unlink()
    finally:
        draft.unlink(missing_ok=True)
