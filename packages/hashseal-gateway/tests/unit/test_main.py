"""The shell answers its version and says plainly that the rest is not there."""

import sys
from importlib.metadata import version

import pytest

from hashseal_gateway import main as gateway


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert gateway.run(["--version"]) == 0
    assert capsys.readouterr().out == f"hashseal-gateway {version('hashseal-gateway')}\n"


@pytest.mark.parametrize("arguments", [[], ["run"], ["--version", "run"], ["watch", "in", "out"]])
def test_anything_else_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert gateway.run(arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "not built yet" in shown.err


def test_the_command_exits_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hashseal-gateway", "run"])
    with pytest.raises(SystemExit) as stop:
        gateway.main()
    assert stop.value.code == 1
