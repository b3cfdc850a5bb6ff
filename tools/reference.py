"""Write the pages of docs/reference from the program itself; with --check only compare.

python tools/reference.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import typer

import hashseal.cli
import hashseal_server.cli
from hashseal_core import protocol
from hashseal_core.problems import TABLE
from hashseal_server.settings import PREFIX, Settings
from hashseal_server.web.openapi import OPERATIONS, Operation, first_line

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
MADE = "<!-- Made by tools/reference.py; do not edit. -->\n\n"


def table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |\n"
        for line in lines
    )


def shape(schema: Mapping[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(shape(one) for one in schema["anyOf"])
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return "array of " + shape(schema.get("items", {}))
    if schema.get("contentEncoding") == "base64":
        return "base64"
    return str(schema.get("format", kind))


def api() -> str:
    """Operations and wire models."""

    def row(operation: Operation) -> tuple[str, ...]:
        needs = ["token"] if operation.authenticated else []
        needs += ["Idempotency-Key"] if operation.idempotent else []
        ends = [
            f"[{one.__name__}](#{one.__name__.lower()})" if isinstance(one, type) else f"`{one}`"
            for one in (operation.request, operation.answer)
            if one is not None
        ]
        return (
            f"`{operation.method.upper()} {operation.path}`",
            operation.summary,
            ", ".join(needs) or "nothing",
            " → ".join(ends),
        )

    models = {one for op in OPERATIONS for one in (op.request, op.answer) if isinstance(one, type)}
    ordered = sorted(models | {protocol.ProblemDetails}, key=lambda model: model.__name__)
    _, components = msgspec.json.schema_components(ordered, ref_template="#/{name}")
    text = MADE + "# API of the signing service\n\n"
    text += "Bodies are JSON; times are UTC; hashes and DER are standard base64 with padding.\n"
    text += "Unknown fields in requests are refused. Errors are problem details (RFC 9457); their\n"
    text += "codes are in [problems](problems.md).\n\n## Operations\n\n"
    text += table(("operation", "what it does", "needs", "body"), (row(op) for op in OPERATIONS))
    for name, schema in sorted(components.items()):
        text += f"\n## {name}\n\n{schema.get('description', '')}\n\n"
        required = schema.get("required", [])
        properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
        text += table(
            ("field", "type", "must be there"),
            (
                (f"`{field}`", shape(described), "yes" if field in required else "no")
                for field, described in properties.items()
            ),
        )
    return text


def problems() -> str:
    """Every error code."""
    rows = (
        (f"`{one.code}`", str(one.status), one.title, one.action, "yes" if one.retryable else "no")
        for one in TABLE
    )
    heads = ("code", "status", "title", "what to do", "may succeed later")
    return (
        f"{MADE}# Problems\n\nEvery error has one of these codes, on the wire, in the SDK and on "
        f"the command line.\n\n{table(heads, rows)}"
    )


def default(made: object, value: object) -> str:
    """The default of a setting."""
    if made is not None or value is None:
        return "none"
    if isinstance(value, frozenset):
        return ", ".join(f"`{one}`" for one in sorted(value))
    return f"`{value}`"


def settings() -> str:
    """Every setting of the service."""
    rows = (
        (
            f"`{name}`",
            f"`{PREFIX}{name.upper()}`",
            default(field.default_factory, field.default),
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    )
    heads = ("in the TOML file", "variable", "default", "meaning")
    return (
        f"{MADE}# Settings of the signing service\n\nVariables come before the TOML file that "
        f"`{PREFIX}CONFIG` names. `hashseal-server check-config`\nshows what is in force.\n\n"
        f"{table(heads, rows)}"
    )


def commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """A command and what is below it."""
    if hasattr(command, "commands"):
        for below, one in command.commands.items():
            yield from commands(f"{name} {below}", one)
    else:
        yield name, command


def command_line() -> str:
    """Both commands."""
    text = MADE + "# Command line\n"
    for name, app in (("hashseal", hashseal.cli.app), ("hashseal-server", hashseal_server.cli.app)):
        for full, command in commands(name, typer.main.get_command(app)):
            text += f"\n## {full}\n\n{first_line(command.help)}\n\n"
            rows = [
                (
                    " ".join(f"`{each}`" for each in (*one.opts, *one.secondary_opts))
                    if one.param_type_name == "option"
                    else f"`{(one.name or '').upper()}`",
                    getattr(one, "help", None) or "",
                    "yes" if one.required else "no",
                )
                for one in command.params
            ]
            text += table(("option", "meaning", "must be given"), iter(rows))
    return text


def main() -> int:
    """Exit code 1 when --check finds a page that is not what the program says."""
    pages = {
        "api.md": api(),
        "problems.md": problems(),
        "settings.md": settings(),
        "command-line.md": command_line(),
    }
    stale = [
        name
        for name, text in pages.items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        print(f"stale: {', '.join(stale)}; run make reference" if stale else "reference: fresh")
        return int(bool(stale))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    print(f"{len(stale)} of {len(pages)} pages changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
