"""schemathesis over the whole OpenAPI document: every check, every phase, with a token and without.

HASHSEAL_FUZZ_EXAMPLES=200 makes it a long run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import described
import pytest
from loopback import Loopback, loopback
from mutation import examples

from hashseal_server.web.description import document

FOLDER = Path(__file__).resolve().parent
JUDGING = FOLDER.parent / "judging"
LINKS = 5
"""Links that a short run has followed at least; some need answers that chance does not bring."""
PHASES = "examples,coverage,fuzzing,stateful"
EXAMPLES = {"account": (4, 60), "nobody": (3, 1)}
"""Of a short run, for each operation, and how many ways through the links; nobody gets far."""
CONFIGURATION = """
[warnings]
display = []

[phases.fuzzing.generation]
max-examples = {fuzzing}

[phases.stateful.generation]
max-examples = {stateful}

# A key that was used for another request is 422: the request is as the document says, the service
# knows more than it does.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 422]

# The token goes along in every request, and these two want to be told one thing once.
[[operations]]
include-path-regex = "^(/oauth2/|/csc/v[12]/oauth2/)"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", 400, 401, 403]

# What may be called, which events there are, and where a cursor leads, only the service knows.
[[operations]]
include-path-regex = "^/v1/(webhooks|events)"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", 400, 401, 403, 404, 409]

# The CSC API takes both spellings of everything, and ignores what it does not know: input that its
# schemas do not have is not refused for that, and what belongs together they do not say. With 2xx
# among its answers, `negative_data_rejection` says nothing of these operations but that no answer is
# of another status; what they refuse, `test_csc_protocol.py` and `test_i18_hostile_csc.py` say.
[[operations]]
include-path-regex = "^/csc/v[12]/(info|credentials|signatures)"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", 400, 401, 403, 404, 409, 501]
[operations.checks.negative_data_rejection]
expected-statuses = ["2xx", 400, 401, 403, 404, 406, 413, 415, 422, 428]

[[operations]]
include-name = "GET /crl/{{name}}"
parameters = {{ name = "issuing.crl" }}

[[operations]]
include-name = "GET /certs/{{name}}"
parameters = {{ name = "issuing.cer" }}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    with loopback(tmp_path_factory.mktemp("service"), raw_signing=True) as made:
        yield made


@pytest.mark.parametrize("who", ["account", "nobody"])
def test_schemathesis_finds_nothing(service: Loopback, who: str, tmp_path: Path) -> None:
    fuzzing, stateful = map(examples, EXAMPLES[who])
    settings = CONFIGURATION.format(fuzzing=fuzzing, stateful=stateful)
    (tmp_path / "schemathesis.toml").write_text(settings)
    # From a file: of a document that it fetches it leaves out the operation that it came from.
    (tmp_path / "openapi.json").write_bytes(document())
    report = tmp_path / "report.json"
    words = [sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", service.url]
    words += ["--checks", "all", "--phases", PHASES, "--continue-on-failure", "--no-color"]
    words += ["--request-timeout", "60", "--no-shrink", "--suppress-health-check", "too_slow"]
    if examples(0) == 0:  # a long run looks elsewhere each time
        words += ["--seed", "1"]
    words += ["--report", "json", "--report-json-path", str(report)]
    if who == "account":
        words += ["-H", f"Authorization: Bearer {service.token}"]
    done = subprocess.run(
        words,
        cwd=tmp_path,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
            "HASHSEAL_FUZZ_TOKEN_ID": service.token.split("_")[1],
            "PYTHONPATH": f"{FOLDER}:{JUDGING}",
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=500 if examples(0) == 0 else None,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    told = json.loads(report.read_text())
    count = len(described.operations())
    assert (told["operations"]["selected"], told["operations"]["tested"]) == (count, count)
    assert {name: one["status"] for name, one in told["phases"].items()} == dict.fromkeys(
        PHASES.split(","), "success"
    )
    assert told["test_cases"]["generated"] > 20 * count
    covered = re.search(r"API Links: +(\d+) covered", done.stdout)
    assert covered is not None
    assert int(covered[1]) >= (LINKS if who == "account" else 0), done.stdout
