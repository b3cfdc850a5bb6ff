"""A watched folder: what is put in comes out signed in another one, or is set aside with a reason.

A file is taken when it has not changed for a moment. Its output appears whole, in one step, and
beside it a report; only then does the input go. A file that is still there after a kill is signed
again under the key of this very file, which makes the same output and is charged once.

One file that cannot be taken, or whose output cannot be named, stops no other. What concerns all of
them (the service is away, a folder is full or cannot be written) is told, and waited for.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec

from hashseal_core.errors import (
    ConfigurationInvalid,
    DocumentTooLarge,
    HashsealError,
    InputUnreadable,
    OutputRefused,
    QuotaExhausted,
    Unavailable,
)
from hashseal_core.problems import problem_of
from hashseal_gateway.documents.attempts import RESULT, SOURCE, make_durable
from hashseal_gateway.documents.filing import (
    FolderAway,
    beside,
    changeable,
    copied,
    elsewhere,
    fitted,
    longest_name,
    move,
    opened,
    remove_drafts,
    same,
    shown,
    there,
    usable,
    write,
    writing_into,
)
from hashseal_gateway.documents.model import Asked, Received, Way
from hashseal_gateway.documents.options import DocumentOptions
from hashseal_gateway.documents.ports import Places
from hashseal_gateway.documents.service import Documents, Result
from hashseal_gateway.documents.work import FIRST_PAUSE, LONGEST_PAUSE
from hashseal_gateway.users.model import Caller, Role

AWAY = (Unavailable, QuotaExhausted, ConfigurationInvalid, FolderAway)
"""Errors for which the whole folder waits; any other is of one file, which is set aside."""
SETTLED_SECONDS = 1.0
_LOOK_SECONDS = 0.5
_LONGEST_REPORT = 1 << 20


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands beside each output; `source` names the very file that was put in.

    `file` is its whole name, also where that of the output is shortened. `digest_before` is not
    known of a file that cannot be read.
    """

    file: str
    source: str
    outcome: str
    at: datetime
    digest_before: str | None = None
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

    @property
    def others(self) -> tuple[Path, ...]:
        """All that is written into."""
        wanted = (self.outbox, self.failed, self.originals)
        return tuple(one for one in wanted if one is not None)

    @property
    def all(self) -> tuple[Path, ...]:
        """The watched one, too."""
        return (self.inbox, *self.others)

    def prepare(self) -> None:
        """Make what is missing; remove drafts that a kill left behind.

        Raises:
            ConfigurationInvalid: there is no inbox, or two of the folders are one.
            OutputRefused: one cannot be made, or cannot be used.
        """
        if not self.inbox.is_dir():
            raise ConfigurationInvalid(f"{shown(self.inbox)} is not a folder")
        try:
            for one in self.others:
                one.mkdir(parents=True, exist_ok=True)
            if any(one.samefile(other) for one, other in combinations(self.all, 2)):
                raise ConfigurationInvalid(
                    "what comes in, what is signed, what failed and the originals want folders "
                    "of their own"
                )
            for one in self.others:
                remove_drafts(one)
        except OSError as error:
            name = shown(error.filename or self.outbox)
            raise OutputRefused(f"{name} cannot be used: {error.strerror}") from error

    def check(self) -> None:
        """Nothing is signed that could not be put down, and nothing that could not be removed.

        Raises:
            FolderAway: one of the folders cannot be written now.
        """
        for one in self.others:
            usable(one)
        changeable(self.inbox)


@dataclass(frozen=True, slots=True)
class _Input:
    """A file as it was when it was taken; `digest` None if it could not be read."""

    path: Path
    seen: os.stat_result
    digest: str | None

    @property
    def source(self) -> str:
        """One name for this very file: put in once more, it is another."""
        seen = self.seen
        parts = (self.path.name, seen.st_dev, seen.st_ino, seen.st_mtime_ns, self.digest)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def unchanged(self) -> bool:
        """It is still the same file.

        Raises:
            OSError: the system does not tell.
        """
        return same(self.seen, there(self.path))


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
        most: int,
        tell: Callable[[Report], None],
        waits: Callable[[HashsealError], None],
        now: Callable[[], datetime],
    ) -> None:
        """A document has `most` octets. `tell` hears of each file, `waits` why nothing goes on."""
        self._folders = folders
        self._documents = documents
        self._places = places
        self._options = options
        self._wanted = hashlib.sha256(msgspec.json.encode(options)).hexdigest()
        self._at_once = at_once
        self._most = most
        self._tell = tell
        self._waits = waits
        self._now = now
        self._seen: dict[Path, os.stat_result] = {}
        self._left: dict[Path, os.stat_result] = {}
        self._delivered: dict[Path, _Input] = {}
        self._naming = threading.Lock()

    async def run(self, *, until_empty: bool = False) -> None:
        """Look until cancelled, or until nothing is left.

        Raises:
            HashsealError: with `until_empty`, if the service or a folder is away.
        """
        pause, reason = FIRST_PAUSE, ""
        while True:
            try:
                ready, waiting = self._look()
                await self._take(ready)
            except AWAY as error:
                if until_empty:
                    raise
                if error.detail != reason:
                    self._waits(error)
                await asyncio.sleep(pause)
                pause, reason = min(2 * pause, LONGEST_PAUSE), error.detail
                continue
            pause, reason = FIRST_PAUSE, ""
            if until_empty and not ready and not waiting:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def _look(self) -> tuple[list[Path], bool]:
        """Files that have not changed for a moment, oldest first; whether there are others.

        Raises:
            FolderAway: the inbox cannot be read.
        """
        try:
            found = dict(self._inputs())
        except OSError as error:
            name = shown(self._folders.inbox)
            raise FolderAway(f"{name} cannot be read: {error.strerror}") from error
        self._left = {one: seen for one, seen in self._left.items() if same(found.get(one), seen)}
        self._delivered = {
            one: taken for one, taken in self._delivered.items() if same(found.get(one), taken.seen)
        }
        found = {one: seen for one, seen in found.items() if one not in self._left}
        ready = [
            one
            for one, seen in found.items()
            if same(self._seen.get(one), seen)
            and abs(time.time() - seen.st_mtime) >= SETTLED_SECONDS
        ]
        self._seen = found
        return sorted(ready, key=lambda one: found[one].st_mtime), len(ready) < len(found)

    def _inputs(self) -> Iterable[tuple[Path, os.stat_result]]:
        """Regular files; links, folders, pipes and what is hidden are left alone."""
        for one in self._folders.inbox.iterdir():
            if one.suffix.lower() != ".pdf" or one.name.startswith("."):
                continue
            seen = there(one)
            if seen is not None and stat.S_ISREG(seen.st_mode):
                yield one, seen

    async def _take(self, files: list[Path]) -> None:
        """Some at the same time; the first that finds something away ends the round.

        Raises:
            HashsealError: one of `AWAY`.
        """
        if files:
            self._folders.check()
        for start in range(0, len(files), self._at_once):
            together = [self._one(file) for file in files[start : start + self._at_once]]
            for outcome in await asyncio.gather(*together, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome

    async def _one(self, file: Path) -> None:
        """Sign one and let the input go, which may have to wait for a folder when it is signed."""
        if file not in self._delivered:
            await self._process(file)
        if (taken := self._delivered.get(file)) is not None:
            reason = await asyncio.to_thread(self._retire, taken)
            del self._delivered[file]
            self._stays(taken, reason)

    async def _process(self, file: Path) -> None:
        identity = secrets.token_hex(12)
        place = self._places.new_place(identity)
        taken = _Input(file, self._seen[file], None)
        try:
            try:
                received = await asyncio.to_thread(
                    copied, file, taken.seen, place / SOURCE, self._most
                )
                if received is None:
                    return  # somebody took it away, or writes to it
                taken = _Input(file, taken.seen, received.digest)
                made = await self._signed(identity, taken, received, place / RESULT)
                self._tell(await asyncio.to_thread(self._deliver, taken, made))
                self._delivered[file] = taken
            except AWAY:
                raise
            except HashsealError as error:
                report, reason = await asyncio.to_thread(self._set_aside, taken, error)
                if report is not None:
                    self._tell(report)
                self._stays(taken, reason)
        finally:
            await asyncio.to_thread(self._places.discard, identity)

    def _stays(self, taken: _Input, reason: HashsealError | None) -> None:
        """A file that cannot be moved is left alone until it changes; without a reason it went."""
        if reason is not None:
            self._left[taken.path] = taken.seen
            stays = f"the file stays where it is: {reason.detail}"
            self._tell(self._report(taken, reason, detail=stays))

    async def _signed(
        self, identity: str, taken: _Input, received: Received, target: Path
    ) -> Result:
        """Signed under the key of this very file and what is wanted, if there is a name for it.

        Raises:
            HashsealError: nothing was made.
        """
        with writing_into(self._folders.outbox):
            await asyncio.to_thread(_free, self._folders.outbox, taken)
        caller = folder_caller(self._folders.inbox)
        asked = Asked(
            id=identity,
            caller=caller,
            way=Way.FOLDER,
            options=self._options,
            request_key=self._documents.request_key(caller.id, f"{taken.source} {self._wanted}"),
        )
        return await self._documents.sign(asked, received, target)

    def _deliver(self, taken: _Input, made: Result) -> Report:
        """Report, then output: each in one step.

        Raises:
            FolderAway: the outbox cannot be written now.
            OutputRefused: it does not take this file.
            StorageUnavailable: the gateway's disk does not keep the result.
        """
        document = made.document
        make_durable(made.path)
        with self._naming, writing_into(self._folders.outbox):
            target = _free(self._folders.outbox, taken)
            report = self._report(
                taken,
                outcome="signed",
                output=shown(target.name),
                document_id=document.id,
                signature_id=document.signature_id,
                seal_id=document.seal_id,
                level=document.level,
                digest_after=document.digest_after,
                findings=document.findings,
            )
            made.path.chmod(taken.seen.st_mode & 0o777)
            _put(made.path, made.path.lstat(), target, report)
        return report

    def _retire(self, taken: _Input) -> HashsealError | None:
        """The input that was signed goes; why it stays, if it does.

        Raises:
            FolderAway: none could go.
        """
        originals = self._folders.originals
        try:
            with self._naming, writing_into(originals or self._folders.inbox):
                if not taken.unchanged():
                    return None
                if originals is None:
                    taken.path.unlink(missing_ok=True)
                else:
                    move(taken.path, _free(originals, taken, anew=True), taken.seen)
        except (OutputRefused, InputUnreadable) as error:
            return self._judged(taken, error)
        return None

    def _set_aside(
        self, taken: _Input, error: HashsealError
    ) -> tuple[Report | None, HashsealError | None]:
        """A file that is not signed, with its reason; if it cannot be moved, why it stays.

        Raises:
            FolderAway: none could be set aside.
        """
        folder = self._folders.failed
        try:
            with self._naming, writing_into(folder):
                if not taken.unchanged():
                    return None, None
                if isinstance(error, DocumentTooLarge):
                    _require_same_disk(folder, taken)
                target = _free(folder, taken)
                report = self._report(taken, error, output=shown(target.name))
                _put(taken.path, taken.seen, target, report)
        except (OutputRefused, InputUnreadable) as refused:
            return self._report(taken, error), self._judged(taken, refused)
        return report, None

    def _judged(
        self, taken: _Input, error: OutputRefused | InputUnreadable
    ) -> HashsealError | None:
        """Why this one file stays; None if it is gone, or another.

        Raises:
            FolderAway: it is the folder, not the file.
        """
        with writing_into(self._folders.inbox):
            if not taken.unchanged():
                return None
        if isinstance(error, FolderAway):
            if not isinstance(error.__cause__, PermissionError):
                raise error
            self._folders.check()
        return error

    def _report(self, taken: _Input, error: HashsealError | None = None, **values: Any) -> Report:
        if error is not None:
            row = problem_of(error)
            values = {"outcome": row.code, "detail": error.detail, "action": row.action} | values
        return Report(
            file=shown(taken.path.name),
            source=taken.source,
            at=self._now(),
            digest_before=taken.digest,
            **values,
        )


def folder_caller(inbox: Path) -> Caller:
    """Who asks: the folder itself, with the rights of whoever may write into it."""
    path = inbox.resolve()
    identity = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Caller("folder", identity, shown(path), Role.OPERATOR)


def _put(source: Path, seen: os.stat_result, target: Path, report: Report) -> None:
    """First the report, so that one knows whose the file is; it goes if the file does not come.

    Raises:
        OSError, HashsealError: neither is there, or both are as they were.
    """
    write(beside(target), msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    try:
        move(source, target, seen)
    except (OSError, HashsealError):
        with suppress(OSError):
            if there(target) is None:
                beside(target).unlink()
        raise


def _require_same_disk(folder: Path, taken: _Input) -> None:
    """What is too large to be signed would fill another disk.

    Raises:
        OSError: the folder is away.
        OutputRefused: it is on another one.
    """
    if elsewhere(folder, taken.seen):
        raise OutputRefused("it is too large to be copied to another disk")


def _free(folder: Path, taken: _Input, *, anew: bool = False) -> Path:
    """A name in this folder that nobody has or, but for `anew`, an attempt at this very file took.

    Raises:
        OSError: the folder is away, or can give this file no name.
        OutputRefused: they are all taken.
    """
    most = longest_name(folder)
    for number in range(1, 1_000_000):
        target = folder / fitted(taken.path.name, number, most)
        report = beside(target)
        if there(target) is None and there(report) is None:
            return target
        if not anew and _source_of(report) == taken.source:
            return target
    raise OutputRefused(f"{shown(folder)} has too many files of one name")


def _source_of(report: Path) -> str | None:
    try:
        with opened(report) as file:
            return msgspec.json.decode(file.read(_LONGEST_REPORT), type=Report).source
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
