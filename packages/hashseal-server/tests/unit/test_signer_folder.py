"""The signers' folder: who may use it, one place for each process, secrets in files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hashseal_core.errors import ConfigurationInvalid
from hashseal_server.keystore import folder as module
from hashseal_server.keystore.folder import SignerFolder, read_pin, read_secret, sockets


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_ours_alone(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a" / "signers"
    made = SignerFolder(path)
    made.prepare()
    assert mode(path) == 0o700
    path.chmod(0o777)
    made.prepare()
    assert mode(path) == 0o700
    monkeypatch.setattr(module.os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigurationInvalid, match="another user"):
        made.prepare()
    monkeypatch.undo()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationInvalid, match="cannot be used"):
        SignerFolder(tmp_path / "file" / "below").prepare()


def test_a_group_may_call_and_nobody_else(tmp_path: Path) -> None:
    import grp

    own = grp.getgrgid(os.getgid()).gr_name
    made = SignerFolder(tmp_path / "signers", own)
    made.prepare()
    assert mode(made.path) == 0o710
    assert made.admits(os.geteuid(), 4711)
    assert made.admits(54321, os.getgid())
    assert not made.admits(54321, 54321)
    assert not made.admits(65534, 65534)
    alone = SignerFolder(tmp_path / "alone")
    assert alone.admits(os.geteuid(), 4711)
    assert not alone.admits(54321, os.getgid())
    with made.place() as socket:
        socket.touch()
        made.open_to_callers(socket)
        assert mode(socket) == 0o660
    with pytest.raises(ConfigurationInvalid, match="no group"):
        SignerFolder(tmp_path, "no-such-group-here")


def test_each_process_has_a_place_that_its_death_frees(tmp_path: Path, monkeypatch) -> None:
    made = SignerFolder(tmp_path / "signers")
    made.prepare()
    code = (
        "import sys, time; from pathlib import Path;"
        "from hashseal_server.keystore.folder import SignerFolder;"
        f"place = SignerFolder(Path({str(made.path)!r})).place();"
        "path = place.__enter__(); path.touch(); print(path.name, flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "0.sock\n"
    with made.place() as second:
        assert second.name == "1.sock"
    other.kill()
    other.wait()
    other.stdout.close()
    assert [path.name for path in sockets(made.path)] == ["0.sock"]  # a dead one's
    with made.place() as first:
        assert first.name == "0.sock"
        assert sockets(made.path) == []
        monkeypatch.setattr(module, "MAX_SIGNERS", 1)
        with pytest.raises(ConfigurationInvalid, match="run already"), made.place():
            pass
    assert sockets(tmp_path / "nowhere") == []


def test_a_pin_that_was_refused_is_not_tried_again(tmp_path: Path) -> None:
    made = SignerFolder(tmp_path / "signers")
    made.prepare()
    made.note_refused_pin("token", "1111")
    assert SignerFolder(made.path).pin_refused("token", "1111")
    assert not made.pin_refused("token", "2222")
    assert not made.pin_refused("other", "1111")
    assert not any("1111" in path.name for path in made.path.iterdir())


def test_secret_files_are_their_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "pin"
    path.write_bytes(b"98 34-x\n")
    for wrong in (0o644, 0o640 if os.geteuid() else 0o660, 0o604, 0o620):
        path.chmod(wrong)
        with pytest.raises(ConfigurationInvalid, match="its owner only") as held:
            read_secret(path, "pkcs11_pin_files")
        assert held.value.field == "pkcs11_pin_files"
        assert "34-x" not in held.value.detail
    path.chmod(0o400)
    assert read_secret(path, "x") == b"98 34-x"
    assert read_pin(path, "x") == "98 34-x"
    path.chmod(0o600)
    path.write_bytes(b"\n")
    with pytest.raises(ConfigurationInvalid, match="empty"):
        read_secret(path, "x")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationInvalid, match="PIN"):
        read_pin(path, "x")
    with pytest.raises(ConfigurationInvalid, match="cannot be read"):
        read_secret(tmp_path / "absent", "x")
