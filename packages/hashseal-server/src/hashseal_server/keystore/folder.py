"""The folder where the signer processes of a machine meet: sockets, locks, PINs that were refused.

Mode 0700, or 0710 with a group whose members may call the signers.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import hashlib
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hashseal_core.errors import ConfigurationInvalid

MAX_SIGNERS = 64
_OTHERS = 0o027


class SignerFolder:
    """One folder; `group` is the name of the group that may call the signers, besides our user.

    Raises:
        ConfigurationInvalid: the folder cannot be used, or others may use it too.
    """

    def __init__(self, path: Path, group: str | None = None) -> None:
        self.path = path
        self._group = None if group is None else _group(group)

    def prepare(self) -> None:
        """Make the folder, or refuse one that is not ours alone."""
        mode = 0o700 if self._group is None else 0o710
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = self.path.stat()
            if found.st_uid != os.geteuid():
                raise ConfigurationInvalid(
                    f"{self.path} belongs to another user", field="signer_folder"
                )
            if self._group is not None:
                os.chown(self.path, -1, self._group)
            self.path.chmod(mode)
        except OSError as error:
            raise ConfigurationInvalid(
                f"the signers' folder cannot be used: {error.strerror}", field="signer_folder"
            ) from error

    def admits(self, user: int, group: int) -> bool:
        """The process at the other end of a socket may call: ours, or in the group."""
        if user == os.geteuid():
            return True
        if self._group is None:
            return False
        members = grp.getgrgid(self._group).gr_mem
        with contextlib.suppress(KeyError):
            return group == self._group or pwd.getpwuid(user).pw_name in members
        return group == self._group

    @contextmanager
    def place(self) -> Iterator[Path]:
        """A socket path of one's own until the process ends, however it ends.

        Raises:
            ConfigurationInvalid: all places are taken.
        """
        for number in range(MAX_SIGNERS):
            with (self.path / f".{number}.lock").open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                socket = self.path / f"{number}.sock"
                socket.unlink(missing_ok=True)
                try:
                    yield socket
                finally:
                    socket.unlink(missing_ok=True)
                return
        raise ConfigurationInvalid(f"{MAX_SIGNERS} signers run already", field="signer_folder")

    def open_to_callers(self, socket: Path) -> None:
        """Let the folder's callers connect to a socket in it."""
        if self._group is not None:
            os.chown(socket, -1, self._group)
        socket.chmod(0o600 if self._group is None else 0o660)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """One process at a time starts, makes keys or tidies up; a dead one holds nothing."""
        with (self.path / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def pin_refused(self, label: str, pin: str) -> bool:
        """A process of this machine has tried this PIN on that token, and it was wrong."""
        return self._refusal(label, pin).exists()

    def note_refused_pin(self, label: str, pin: str) -> None:
        """Nobody tries it again."""
        self._refusal(label, pin).touch(mode=0o600)

    def _refusal(self, label: str, pin: str) -> Path:
        """Named by a slow hash: a PIN that is wrong by one digit must not be found from it."""
        made = hashlib.scrypt(pin.encode(), salt=label.encode(), n=2**14, r=8, p=1, dklen=16)
        return self.path / f".refused-{made.hex()}"


def sockets(folder: Path) -> list[Path]:
    """The sockets that are there; a signer need not be behind each."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".sock")
    except OSError:
        return []


def read_secret(path: Path, field: str) -> bytes:
    """What a secret file holds, without the newline at its end.

    The file is ours or root's, and nobody else can read it; a credential of systemd is root's and
    its group's.

    Raises:
        ConfigurationInvalid: it is not there, empty, or open to others.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            content = file.read(4096)
    except OSError as error:
        raise ConfigurationInvalid(f"{path} cannot be read", field=field) from error
    mine = found.st_uid in {0, os.geteuid()}
    credential = found.st_uid == 0 and found.st_gid == 0 and not found.st_mode & _OTHERS
    if not mine or (found.st_mode & 0o077 and not credential):
        raise ConfigurationInvalid(f"{path} must be readable by its owner only", field=field)
    content = content.rstrip(b"\r\n")
    if not content:
        raise ConfigurationInvalid(f"{path} is empty", field=field)
    return content


def read_pin(path: Path, field: str) -> str:
    """The PIN in a secret file.

    Raises:
        ConfigurationInvalid: see `read_secret`; or it is not text.
    """
    try:
        return read_secret(path, field).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationInvalid(f"{path} does not hold a PIN", field=field) from error


def _group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise ConfigurationInvalid(f"there is no group {name}", field="signer_group") from error
