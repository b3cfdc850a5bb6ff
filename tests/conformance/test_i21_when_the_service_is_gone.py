"""I21 as it is worded: files judged later, without a network, when nothing of the service is left.

The service's keys are in SoftHSM2, and its processes are real; for later signatures their clock is
set ahead. Then its folder, with tokens and database, is removed, and tools that know nothing of
Hashseal judge with the root certificate alone, in a network namespace without interfaces where the
system lets us make one.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import judgement
import pytest
from asn1crypto import cms, pem, tsp
from forms import ALL_FORMS, KEYS_IN_TOKEN
from hardware import HardwareService, faketime

pytestmark = [pytest.mark.hsm, pytest.mark.tools]
DAY, YEAR = timedelta(days=1), timedelta(days=365)
BLOCKED = Path(judgement.__file__).with_name("no_network")


@cache
def apart() -> tuple[str, ...]:
    """What puts a command where there is no network; empty where the system does not allow it."""
    words = ("unshare", "--net", "--map-root-user")
    allowed = subprocess.run([*words, "true"], check=False, capture_output=True)
    return () if allowed.returncode else words


def offline(*words: str | Path, ahead: timedelta = timedelta()) -> subprocess.CompletedProcess[str]:
    """A command that can reach nobody; Python is refused every connection besides."""
    shift = faketime(ahead) if ahead else {}
    return subprocess.run(
        [*apart(), *map(str, words)],
        env={**os.environ, **shift, "PYTHONPATH": str(BLOCKED)},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(params=KEYS_IN_TOKEN if ALL_FORMS else ("RSA-3072",))
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HardwareService]:
    """With one seal, of one kind of key."""
    made = HardwareService(tmp_path / "service", kinds=(request.param,)).found()
    yield made
    made.stop()


@pytest.fixture
def anchor(service: HardwareService, tmp_path: Path) -> Path:
    """The root certificate: all that is left."""
    path = tmp_path / "root.pem"
    path.write_bytes(pem.armor("CERTIFICATE", service.anchor_der))
    return path


@pytest.fixture
def no_connections(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on this process opens no connection either."""

    def refuse(*_: object) -> None:
        raise PermissionError("there is no network here")

    def close() -> None:
        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)

    return close


def client(service: HardwareService, *words: str | Path, ahead: timedelta = timedelta()) -> None:
    """The command `hashseal` with the service, at the service's time."""
    shift = faketime(ahead) if ahead else {}
    done = subprocess.run(
        [sys.executable, "-m", "hashseal.cli", *map(str, words), "--json"],
        env={**os.environ, **service.access, **shift},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def report(path: Path, anchor: Path, at: datetime) -> dict[str, object]:
    """`hashseal verify` at a time, offline."""
    told = offline(
        *(sys.executable, "-m", "hashseal.cli", "verify", path, "--trust-anchor", anchor),
        *("--at", f"{at:%Y-%m-%dT%H:%M:%S}", "--json"),
    )
    return dict(json.loads(told.stdout))


def time_of(token_der: bytes) -> datetime:
    content = cms.ContentInfo.load(token_der)["content"]["encap_content_info"]["content"]
    found = tsp.TSTInfo.load(content.contents)["gen_time"].native
    assert isinstance(found, datetime)
    return found


def signature_timestamp(found: judgement.Found) -> bytes:
    signer = found.content_info["content"]["signer_infos"][0]
    (attribute,) = signer["unsigned_attrs"]
    assert attribute["type"].native == "signature_time_stamp_token"
    return bytes(attribute["values"][0].dump())


def pdfsig(path: Path, ahead: timedelta) -> list[bool]:
    """Poppler's verdict when its clock is so far ahead."""
    said = offline("pdfsig", "-nocert", "-no-ocsp", path, ahead=ahead).stdout
    blocks = [one for one in said.split("Signature #")[1:] if "Type: unknown" not in one]
    return ["Signature is Valid." in block for block in blocks]


def test_there_is_no_network_for_the_judges() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
        assert "PermissionError" in offline(sys.executable, "-c", code).stderr
        if apart():
            alone = subprocess.run([*apart(), sys.executable, "-c", code], check=False, stderr=-3)
            assert alone.returncode


def test_b_lt_at_its_timestamps_time(
    service: HardwareService,
    sources,
    anchor: Path,
    tmp_path: Path,
    no_connections: Callable[[], None],
) -> None:
    signed = tmp_path / "signed.pdf"
    service.start()
    client(service, "sign", sources["table"], "-o", signed, "--level", "B-LT")
    service.remove()
    no_connections()
    document, now = signed.read_bytes(), datetime.now(UTC)
    (found,) = judgement.signatures(document)
    token = signature_timestamp(found)
    stamped_at = time_of(token)
    value = found.content_info["content"]["signer_infos"][0]["signature"].native
    # By its timestamp's time the signature is judged the same whenever that is done.
    assert judgement.openssl_cms(found, anchor, tmp_path, at=stamped_at)
    material = judgement.dss(document)
    assert judgement.pyhanko(document, service.anchor_der, material, at=stamped_at) == [True]
    for later in (DAY, YEAR, 4 * YEAR):
        told = report(signed, anchor, now + later)
        (one,) = told["signatures"]  # type: ignore[misc]
        assert (told["verdict"], one["level"], one["revocation"]) == ("valid", "B-LT", "checked")
        assert one["time_source"] == "timestamp"
        assert datetime.fromisoformat(one["time"]) == stamped_at
        assert judgement.openssl_ts(token, value, anchor, tmp_path, at=now + later)
        assert pdfsig(signed, later) == [True]
    # Without the timestamp it would be over: the signer's certificate has expired by then.
    assert not judgement.openssl_cms(found, anchor, tmp_path, at=now + 4 * YEAR)
    assert report(signed, anchor, now + 11 * YEAR)["verdict"] == "untrusted"


@pytest.mark.timeout(400)
def test_b_lta_extended_yearly_at_five_years(
    service: HardwareService,
    sources,
    anchor: Path,
    tmp_path: Path,
    no_connections: Callable[[], None],
) -> None:
    now, current = datetime.now(UTC), sources["table"]
    for year in range(5):
        ahead, longer = year * YEAR, tmp_path / f"{year}.pdf"
        service.start(ahead)
        verb = ("extend",) if year else ("sign", "--level", "B-LTA")
        client(service, *verb, current, "-o", longer, ahead=ahead)
        service.stop()
        assert longer.read_bytes().startswith(current.read_bytes())
        current = longer
    service.remove()
    no_connections()
    document, end = current.read_bytes(), now + 5 * YEAR
    told = report(current, anchor, end)
    assert told["verdict"] == "valid"
    shown = told["signatures"]
    assert isinstance(shown, list)
    assert [one["kind"] for one in shown] == ["signature", *5 * ["timestamp"]]
    assert {one["level"] for one in shown} == {"B-LTA"}
    assert all(one["revocation"] == "checked" for one in shown)
    assert pdfsig(current, 5 * YEAR) == [True]

    found = judgement.signatures(document)
    signature = next(one for one in found if not one.is_timestamp)
    stamps = [one for one in found if one.is_timestamp]
    times = [time_of(one.signed_data_der) for one in stamps]
    for year, at in enumerate(times):
        assert abs(at - now - year * YEAR) < DAY
    assert judgement.openssl_cms(
        signature, anchor, tmp_path, at=time_of(signature_timestamp(signature))
    )
    # Each document timestamp by the time of the next, the last at the end.
    for stamp, proven_at in zip(stamps, (*times[1:], end), strict=True):
        parts = stamp.signed_data_der, stamp.signed_bytes, anchor, tmp_path
        assert judgement.openssl_ts(*parts, at=proven_at)
    material = judgement.dss(document)
    for number, at in enumerate((*times[1:], times[-1])):  # with the evidence of that time
        verdicts = judgement.pyhanko(document, service.anchor_der, material, at=at)
        assert verdicts[1 + number], number
