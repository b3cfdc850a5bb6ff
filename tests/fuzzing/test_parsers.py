"""Each parser of outside bytes gets damaged and random ones: a result or a typed error, soon.

HASHSEAL_FUZZ_EXAMPLES=20000 makes it a long run.
"""

from __future__ import annotations

import ast
import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_parsers import INSIDE as INSIDE_GATEWAY
from gateway_parsers import PARSERS as OF_GATEWAY
from hypothesis import HealthCheck, given, settings
from mutation import damaged, examples
from outside_parsers import INSIDE, PARSERS

ALL = {**PARSERS, **OF_GATEWAY}
ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10
TAKES = re.compile(r"\b(bytes|bytearray|str|Body|Form|AnyRequest)\b")
READERS = (
    r"parse|parsed|read(?!y)|decode|from_json|elements|token_of|check_t|examine|inspect|recogni"
)
HANDED_OVER = (
    r"take$|unpack|from_query|of_place|options_of|appearance_of|search|moment|number|text$|"
    r"address|place$|host$|is_loopback|next_|login_name|require_name|step_of|wants_|visit_of|"
    r"body_of|idempotency|attachment|fitted|shown"
)
"""Names in the gateway, which is handed over bodies, forms, queries, headers and names of files."""
PACKAGES = {
    "hashseal-core": READERS,
    "hashseal": READERS,
    "hashseal-server": READERS,
    "hashseal-gateway": f"{READERS}|{HANDED_OVER}",
}


@pytest.mark.parametrize("name", ALL)
def test_whatever_comes_is_read_or_refused(name: str) -> None:
    parser = ALL[name]
    seeds = tuple(parser.seeds())

    @settings(
        max_examples=examples(parser.weight), deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(damaged(*seeds))
    def fuzz(octets: bytes) -> None:
        begun = time.monotonic()
        with contextlib.suppress(*parser.raises):
            parser.read(octets)
        assert time.monotonic() - begun < SECONDS

    fuzz()


def functions() -> Iterator[str]:
    """Functions that take octets or text and are named like a reader, as `module.function`."""
    for package, names in PACKAGES.items():
        readers = re.compile(rf"_?({names})")
        for path in sorted((ROOT / "packages" / package / "src").rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                types = [ast.unparse(one.annotation) for one in node.args.args if one.annotation]
                paths = [one for one in types if one == "Path"]
                if readers.match(node.name) and (paths or any(TAKES.search(one) for one in types)):
                    yield f"{path.stem}.{node.name}"


def test_every_parser_is_fuzzed() -> None:
    known = {one for parser in ALL.values() for one in parser.reads}
    known |= {*INSIDE, *INSIDE_GATEWAY}
    found = set(functions())
    assert found - known == set(), "give these a row in outside_parsers.py or gateway_parsers.py"
    assert len(found) > 30
