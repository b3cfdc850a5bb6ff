"""Settings: where they come from, and what is said when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from hashseal_core.errors import ConfigurationInvalid, OutputRefused
from hashseal_gateway.infra.data_folder import DataFolder, alone, read_secret
from hashseal_gateway.settings import PREFIX, load, unknown_variables
from hashseal_server.settings import unknown_variables as unknown_to_the_service


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path))
    monkeypatch.delenv(f"{PREFIX}CONFIG", raising=False)


def test_variables_come_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load().port == 8080
    (tmp_path / "gateway.toml").write_text('port = 9000\nrefuse = ["xfa"]\n')
    assert load().port == 9000
    assert load().refuse == {"xfa"}
    monkeypatch.setenv(f"{PREFIX}PORT", "9001")
    assert load().port == 9001
    assert load(port=9002).port == 9002
    assert load().database.startswith("sqlite:///")
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", "postgresql://a@b/c")
    assert load().database == load().work_database == "postgresql://a@b/c"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port = 0", "port"),
        ("colour = 1", "colour"),
        ("port =", "TOML"),
        ('service_url = "http://sign.example.com"', "https"),
        ('service_url = "http://127.0.0.1.example.com"', "https"),
        ('service_url = "http://localhost.example.com:80"', "https"),
        ('public_url = "http://sign.example.com"', "https"),
        ('refuse = ["everything"]', "refuse"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "gateway.toml").write_text(text + "\n")
    with pytest.raises(ConfigurationInvalid, match=words):
        load()


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:1", "127.1.2.3"])
def test_on_this_machine_there_need_be_no_tls(host: str) -> None:
    assert load(service_url=f"http://{host}", public_url=f"http://{host}").port == 8080


def test_a_named_file_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(f"{PREFIX}CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(ConfigurationInvalid, match="not there"):
        load()


def test_each_product_knows_its_own_variables() -> None:
    found = {f"{PREFIX}PORT": "1", f"{PREFIX}COLOUR": "1", "HASHSEAL_COLOUR": "1"}
    assert unknown_variables(found) == [f"{PREFIX}COLOUR"]
    assert unknown_to_the_service(found) == ["HASHSEAL_COLOUR"]


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    for text, mode, words in (("x", 0o644, "open to others"), ("", 0o600, "empty")):
        path.write_text(text)
        path.chmod(mode)
        with pytest.raises(ConfigurationInvalid, match=words):
            read_secret(path, "service_token_file")
    with pytest.raises(ConfigurationInvalid, match="cannot be read"):
        read_secret(tmp_path / "none", "service_token_file")


def test_the_data_folder(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    again = DataFolder(tmp_path / "data")
    assert (folder.name, folder.secret) == (again.name, again.secret)
    assert (tmp_path / "data" / "secret").stat().st_mode & 0o777 == 0o600
    sealed = folder.secret.sealed("word", "here")
    assert b"word" not in sealed
    assert again.secret.opened(sealed, "here") == "word"
    with pytest.raises(ConfigurationInvalid):
        again.secret.opened(sealed, "there")
    for name in ("known", "stray"):
        folder.new_place(name)
    folder.sweep(["known"])
    assert folder.place("known").is_dir()
    assert not folder.place("stray").exists()
    with (
        alone(folder.path, "run"),
        pytest.raises(ConfigurationInvalid, match="another process"),
        alone(folder.path, "run"),
    ):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputRefused):
        DataFolder(tmp_path / "file")
