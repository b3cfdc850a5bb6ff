"""I21: what was signed verifies years later, offline, and for ever if it is extended in time.

The service's clock is set; files are judged with the root alone, after the sandbox was closed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hashseal import pdf, sandbox, validation
from hashseal.client.extending import extend
from hashseal.client.signing import sign
from hashseal_core.algorithms import Level
from hashseal_core.errors import EvidenceUnavailable, PdfUnsupported
from hashseal_server import main as service
from hashseal_server import timestamping
from hashseal_server.infra.timekeeping import Reading, reading

YEAR = timedelta(days=365)
DAY = timedelta(days=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """Sets the service's clock ahead; the files are judged by a time of their own."""

    def ahead(by: timedelta) -> None:
        def shifted() -> Reading:
            now = reading()
            return Reading(now.wall + int(by.total_seconds()) * 10**9, now.elapsed)

        monkeypatch.setattr(service, "now", lambda: datetime.now(UTC) + by)
        monkeypatch.setattr(timestamping, "_now", lambda: datetime.now(UTC) + by)
        monkeypatch.setattr(timestamping, "reading", shifted)

    return ahead


def test_b_lt_is_valid_until_the_timestamping_unit_expires(opened, source: Path) -> None:
    output, now = source.with_name("out.pdf"), datetime.now(UTC)
    opened.client.run(sign(source, output))
    for later in (DAY, YEAR, 5 * YEAR, 9 * YEAR):
        report = validation.validate(output, [opened.trust_anchor], at=now + later)
        assert (report.verdict, report.signatures[0].level) == ("valid", "B-LT"), later
        assert report.valid_until is not None
        assert now + 9 * YEAR < report.valid_until < now + 11 * YEAR
    report = validation.validate(output, [opened.trust_anchor], at=now + 11 * YEAR)
    assert report.verdict == "untrusted"
    assert "expired" in report.words


def test_yearly_extensions_keep_a_file_valid(tmp_path: Path, source: Path, clock) -> None:
    now, current = datetime.now(UTC), source.with_name("0.pdf")
    for year in range(6):
        clock(year * YEAR)
        with sandbox.running(tmp_path / "sandbox") as opened:
            if year == 0:
                opened.client.run(sign(source, current, level=Level.B_LTA))
            else:
                before, current = current, source.with_name(f"{year}.pdf")
                opened.client.run(extend(before, current))
                assert current.read_bytes().startswith(before.read_bytes())
            anchor = opened.trust_anchor
    report = validation.validate(current, [anchor], at=now + 5 * YEAR + DAY)
    assert report.verdict == "valid"
    assert {one.level for one in report.signatures} == {"B-LTA"}
    assert [one.kind for one in report.signatures] == ["signature"] + 6 * ["timestamp"]
    assert all(one.revocation == "checked" for one in report.signatures)


def test_a_file_that_was_extended_forty_times(tmp_path: Path, source: Path, clock) -> None:
    """Each time with status data that the file does not have yet; nothing is stored twice."""
    now, current, times = datetime.now(UTC), source.with_name("0.pdf"), 40
    for time in range(times + 1):
        clock(time * 8 * DAY)
        with sandbox.running(tmp_path / "sandbox") as opened:
            if time == 0:
                opened.client.run(sign(source, current, level=Level.B_LTA))
            else:
                before, current = current, source.with_name(f"{time}.pdf")
                opened.client.run(extend(before, current))
            anchor = opened.trust_anchor
    report = validation.validate(current, [anchor], at=now + (times * 8 + 1) * DAY)
    assert report.verdict == "valid"
    assert len(report.signatures) == times + 2
    assert {(one.level, one.revocation) for one in report.signatures} == {("B-LTA", "checked")}
    assert {one.changes for one in report.signatures[:-1]} == {"evidence"}
    assert current.read_bytes().count(b"%%EOF") == 4 + 2 * times
    assert pdf.inspect(current).dss_ocsp_responses > 2 * times


@pytest.mark.parametrize("level", [Level.B_B, Level.B_T, Level.B_LT])
def test_an_extension_raises_any_level(opened, source: Path, level: Level) -> None:
    output, longer = source.with_name("out.pdf"), source.with_name("longer.pdf")
    opened.client.run(sign(source, output, level=level))
    made = opened.client.run(extend(output, longer))
    report = validation.validate(longer, [opened.trust_anchor])
    assert (report.verdict, report.signatures[0].level) == ("valid", "B-LTA")
    assert made.signatures == 1
    assert made.without_evidence == ()


def test_what_cannot_be_extended(opened, source: Path, tmp_path: Path) -> None:
    with pytest.raises(PdfUnsupported):
        opened.client.run(extend(source, source.with_name("out.pdf")))
    with sandbox.running(tmp_path / "stranger") as stranger:
        stranger.client.run(sign(source, source.with_name("theirs.pdf")))
    with pytest.raises(EvidenceUnavailable):
        opened.client.run(extend(source.with_name("theirs.pdf"), source.with_name("out.pdf")))
    assert not source.with_name("out.pdf").exists()
