"""A PostgreSQL cluster of the tests' own: free port, own data folder, stopped and killed by pid."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from ports import free_port

from hashseal_server.infra import jobs
from hashseal_server.infra.db import Database

OWNER, APP = "hashseal_owner", "hashseal_app"


def programs() -> Path:
    """Folder of the newest PostgreSQL of Debian's packages."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    return found[-1]


class Cluster:
    """Started by `start`; every process of it is a child of the postmaster that we started."""

    def __init__(self, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hashseal-pg-"))
        self.port = free_port()
        self._settings = {"fsync": "off", "max_connections": "200", **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:  # initdb refuses root
            account = pwd.getpwnam("postgres")
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        subprocess.run(
            [
                str(programs() / "initdb"), "-D", str(self.folder / "data"), "-U", "postgres",
                "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync",
            ],
            check=True, capture_output=True, cwd=self.folder, **self._user,
        )  # fmt: skip

    def start(self) -> None:
        """Start and wait until it answers; recovery after a kill included."""
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:
            options = [f"-c{name}={value}" for name, value in self._settings.items()]
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        str(programs() / "postgres"), "-D", str(self.folder / "data"),
                        "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
                        "-c", "unix_socket_directories=", *options,
                    ],
                    stdout=log, stderr=log, cwd=self.folder, **self._user,
                )  # fmt: skip
            while self._process.poll() is None and time.monotonic() < give_up:
                if self.ready():
                    return
                time.sleep(0.02)
            time.sleep(0.05)  # an old process still holds the folder: try again
        raise RuntimeError((self.folder / "log").read_text()[-2000:])

    def prepare(self) -> str:
        """Roles, and an empty migrated database to copy; its name."""
        for role in (OWNER, APP):
            self.sql(f"CREATE ROLE {role} LOGIN")
        self.database("prepared")

        async def migrate() -> None:
            database = Database(self.url("prepared", OWNER))
            await database.migrate()
            await asyncio.to_thread(jobs.prepare, self.url("prepared", OWNER))
            await database.grant(APP)
            await database.close()

        asyncio.run(migrate())
        return "prepared"

    def ready(self) -> bool:
        probe = subprocess.run(
            [str(programs() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)],
            check=False,
        )
        return probe.returncode == 0

    def sql(self, statement: str, *, database: str = "postgres", user: str = "postgres") -> str:
        done = subprocess.run(
            [
                str(programs() / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
                "-h", "127.0.0.1", "-p", str(self.port), "-U", user, "-d", database,
                "-c", statement,
            ],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    def url(self, database: str, user: str = APP) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def pids(self) -> list[int]:
        """The postmaster and its children."""
        if self._process is None:
            return []
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children")
        try:
            return [parent, *map(int, children.read_text().split())]
        except FileNotFoundError:
            return [parent]

    def kill(self) -> None:
        """SIGKILL for every process of the cluster, at once."""
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self._process is not None:
            self._process.wait()

    def database(self, name: str, template: str | None = None) -> str:
        """A new database of the owner; its URL for the service's role."""
        copied = f" TEMPLATE {template}" if template else ""
        self.sql(f"CREATE DATABASE {name} OWNER {OWNER}{copied}")
        return self.url(name)

    def stop(self) -> None:
        """Stop it and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
