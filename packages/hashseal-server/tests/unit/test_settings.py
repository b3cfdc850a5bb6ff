"""Settings: what an operator must say, and what a test authority may leave out."""

from __future__ import annotations

from pathlib import Path

import pytest

from hashseal_core.errors import ConfigurationInvalid
from hashseal_server.settings import Settings, load, unknown_variables


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"HASHSEAL_{name.upper()}", raising=False)
    monkeypatch.delenv("HASHSEAL_CONFIG", raising=False)
    monkeypatch.setenv("HASHSEAL_DATA_DIR", str(tmp_path))


def test_a_test_authority_claims_no_policy_of_a_standard(monkeypatch) -> None:
    certificate, timestamp, raw = load().policies
    assert certificate.startswith("1.3.6.1.4.1.32473.")
    assert timestamp.startswith("1.3.6.1.4.1.32473.")
    assert raw.startswith("1.3.6.1.4.1.32473.")
    assert len({certificate, timestamp, raw}) == 3


def test_a_production_authority_names_its_policies(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HASHSEAL_TEST", "false")
    with pytest.raises(ConfigurationInvalid, match="policy"):
        load()
    file = tmp_path / "hashseal.toml"
    file.write_text('certificate_policy = "1.2.3.4"\ntimestamp_policy = "1.2.3.5"\n')
    monkeypatch.setenv("HASHSEAL_CONFIG", str(file))
    assert load().policies[:2] == ("1.2.3.4", "1.2.3.5")
    monkeypatch.setenv("HASHSEAL_TIMESTAMP_POLICY", "1.2.3.6")
    assert load().policies[:2] == ("1.2.3.4", "1.2.3.6")
    monkeypatch.setenv("HASHSEAL_TIMESTAMP_POLICY", "no oid")
    with pytest.raises(ConfigurationInvalid, match="timestamp_policy"):
        load()


def test_a_production_authority_names_the_policy_of_raw_keys(monkeypatch) -> None:
    monkeypatch.setenv("HASHSEAL_TEST", "false")
    monkeypatch.setenv("HASHSEAL_CERTIFICATE_POLICY", "1.2.3.4")
    monkeypatch.setenv("HASHSEAL_TIMESTAMP_POLICY", "1.2.3.5")
    load()  # without raw signing there is nothing to name
    monkeypatch.setenv("HASHSEAL_RAW_SIGNING", "true")
    with pytest.raises(ConfigurationInvalid, match="raw_policy"):
        load()
    monkeypatch.setenv("HASHSEAL_RAW_POLICY", "1.2.3.4")
    with pytest.raises(ConfigurationInvalid, match="another than certificate_policy"):
        load()
    monkeypatch.setenv("HASHSEAL_RAW_POLICY", "1.2.3.6")
    assert load().policies == ("1.2.3.4", "1.2.3.5", "1.2.3.6")


def test_files_that_cannot_be_read_are_named(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HASHSEAL_CONFIG", str(tmp_path / "absent.toml"))
    with pytest.raises(ConfigurationInvalid) as held:
        load()
    assert held.value.field == "HASHSEAL_CONFIG"
    (tmp_path / "bad.toml").write_text("= nothing")
    monkeypatch.setenv("HASHSEAL_CONFIG", str(tmp_path / "bad.toml"))
    with pytest.raises(ConfigurationInvalid):
        load()
    (tmp_path / "more.toml").write_text('surprise = "x"\n')
    monkeypatch.setenv("HASHSEAL_CONFIG", str(tmp_path / "more.toml"))
    with pytest.raises(ConfigurationInvalid, match="surprise"):
        load()


def test_unknown_variables_are_listed() -> None:
    environment = {"HASHSEAL_PORT": "1", "HASHSEAL_PROT": "1", "HASHSEAL_SANDBOX_DIR": "x", "X": ""}
    assert unknown_variables(environment) == ["HASHSEAL_PROT"]


def test_who_vouches_for_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().evidence == "system"
    assert load(clock="kernel").evidence == "kernel"
    assert load(clock="ntp", ntp_servers=("a", "b:1123")).evidence == "ntp"
    for wrong in ({"clock": "ntp"}, {"ntp_servers": ("a",)}, {"clock": "sundial"}):
        with pytest.raises(ConfigurationInvalid):
            load(**wrong)
    policies = {"certificate_policy": "1.2.3.4", "timestamp_policy": "1.2.3.5"}
    assert load(test=False, **policies).evidence == "kernel"
    with pytest.raises(ConfigurationInvalid, match="kernel"):
        load(test=False, clock="system", **policies)
