"""Write the pages of docs/reference from the program itself; with --check only compare.

python tools/reference.py [--check]
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import typer

import hashseal.cli
import hashseal_gateway.cli
import hashseal_server.cli
from hashseal_core.problems import TABLE
from hashseal_gateway.settings import PREFIX as GATEWAY_PREFIX
from hashseal_gateway.settings import Settings as GatewaySettings
from hashseal_gateway.web import openapi as gateway_openapi
from hashseal_server.settings import PREFIX, Settings
from hashseal_server.web.description import codes_by_status
from hashseal_server.web.examples import ANSWERS, REQUESTS
from hashseal_server.web.openapi import OPERATIONS, Operation, first_line
from hashseal_server.web.shapes import schemas

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
MADE = "<!-- Made by tools/reference.py; do not edit. -->\n\n"


def table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |\n"
        for line in lines
    )


OPERATION_HEADINGS = frozenset(operation.name.lower() for operation in OPERATIONS)


def place(model: str) -> str:
    """The anchor of a model; some operations are called like what they take, letter case apart."""
    return f"body-{model.lower()}" if model.lower() in OPERATION_HEADINGS else model.lower()


def shape(schema: Mapping[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{place(name)})"
    if "anyOf" in schema:
        return " or ".join(shape(one) for one in schema["anyOf"])
    kind = str(schema.get("type", "any"))
    if "enum" in schema:
        return " or ".join(f"`{one}`" for one in schema["enum"])
    if kind == "array":
        return "array of " + shape(schema.get("items", {}))
    if schema.get("contentEncoding") == "base64":
        return "base64"
    return str(schema.get("format", kind))


def name_of(model: type[msgspec.Struct] | str | None) -> str:
    """A model's link, or a media type."""
    if model is None:
        return "nothing"
    if isinstance(model, type):
        return f"[{model.__name__}](#{place(model.__name__)})"
    return f"`{model}`"


def needs_of(operation: Operation) -> str:
    """What a caller must send beside the body."""
    needs = [f"token, `{operation.scope}`"] if operation.authenticated else []
    if operation.authenticated == "perhaps":
        needs = [f"token, `{operation.scope}`, if `timestamp_urls` is set"]
    needs += ["Idempotency-Key"] if operation.idempotent else []
    return ", ".join(needs) or "nothing"


def overview() -> str:
    """All operations in one table."""

    def row(operation: Operation) -> tuple[str, ...]:
        ends = [name_of(one) for one in (operation.request, operation.answer) if one is not None]
        return (
            f"[`{operation.method.upper()} {operation.path}`](#{operation.name.lower()})",
            operation.summary,
            needs_of(operation),
            " → ".join(ends) or "nothing",
        )

    return table(("operation", "what it does", "needs", "body"), (row(op) for op in OPERATIONS))


def shortened(value: object) -> str:
    """An example as JSON."""
    made = msgspec.json.decode(msgspec.json.Encoder(decimal_format="string").encode(value))
    return f"```json\n{json.dumps(made, indent=2, ensure_ascii=False)}\n```\n"


def one_operation(operation: Operation) -> str:
    """What a caller sends, gets, may be refused with, and may do next."""
    text = f"\n### {operation.name}\n\n`{operation.method.upper()} {operation.path}`: "
    text += f"{operation.summary}. Needs: {needs_of(operation)}.\n"
    if operation.queries:
        rows = (
            (f"`{one.name}`", shape(one.schema), one.summary, "yes" if one.required else "no")
            for one in operation.queries
        )
        text += "\n" + table(("parameter", "type", "meaning", "must be there"), rows)
    for what, given in (("Request", REQUESTS), ("Answer", ANSWERS)):
        shown = given.get(operation.name, {})
        for label, value in shown.items():
            named = f" ({label})" if len(shown) > 1 else ""
            text += f"\n{what}{named}:\n\n{shortened(value)}"
    refusals = (
        (str(status), ", ".join(f"`{row.code}`" for row in rows))
        for status, rows in codes_by_status(operation).items()
    )
    text += "\n" + table(("status", "problems"), refusals)
    if operation.links:
        following = ", ".join(
            f"[{one}](#{one.lower()})"
            for one in dict.fromkeys(link.operation for link in operation.links)
        )
        text += f"\nWhat may follow: {following}.\n"
    return text


def api() -> str:
    """Operations and wire models."""
    text = MADE + "# API of the signing service\n\n"
    text += "Bodies are JSON; times are UTC; hashes and DER are standard base64 with padding.\n"
    text += "Unknown fields in requests are refused. Errors are problem details (RFC 9457); their\n"
    text += "codes are in [problems](problems.md). Examples have made-up ids and shortened DER.\n"
    text += f"\n## Operations\n\n{overview()}"
    text += "".join(one_operation(operation) for operation in OPERATIONS)
    return text + "\n## Bodies\n" + bodies(schemas(OPERATIONS, "#/{name}"), "###")


def bodies(components: Mapping[str, Mapping[str, Any]], heading: str = "##") -> str:
    """Every wire model, a table of its fields."""
    text = ""
    for name, schema in sorted(components.items()):
        if name.lower() in OPERATION_HEADINGS:
            text += f'\n<a id="{place(name)}"></a>\n'
        text += f"\n{heading} {name}\n\n{schema.get('description', '')}\n\n"
        if "enum" in schema:
            text += f"{shape(schema)}\n"
            continue
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


def gateway_api() -> str:
    """Operations and wire models of the gateway."""

    def links(ends: tuple[type[msgspec.Struct] | str, ...]) -> str:
        return ", ".join(
            f"[{one.__name__}](#{one.__name__.lower()})" if isinstance(one, type) else f"`{one}`"
            for one in ends
        )

    def row(operation: gateway_openapi.Operation) -> tuple[str, ...]:
        needs = [
            *([key_of(operation)] if operation.authenticated else []),
            *operation.required_headers,
            *(f"{name} if wanted" for name in operation.headers),
        ]
        kinds = (gateway_openapi.each(one) for one in operation.answers.values())
        answers = links(tuple(itertools.chain.from_iterable(kinds)))
        return (
            f"`{operation.method.upper()} {operation.path}`",
            operation.summary,
            ", ".join(needs) or "nothing",
            f"{links(operation.takes)} → {answers}" if operation.takes else answers,
        )

    def key_of(operation: gateway_openapi.Operation) -> str:
        return "key that manages" if operation.manages else "key"

    _, components = msgspec.json.schema_components(
        gateway_openapi.models(), ref_template="#/{name}"
    )
    text = MADE + "# API of the gateway\n\n"
    text += "Documents are PDF; other bodies are JSON; times are UTC; digests are SHA-256 in\n"
    text += (
        "hexadecimal. A document comes as the body, with its options in the query, or as the part\n"
    )
    text += (
        "`document` of a multipart body, with [DocumentOptions](#documentoptions) as JSON in the\n"
    )
    text += "part `options`. Errors are problem details (RFC 9457); their codes are in\n"
    text += "[problems](problems.md).\n\n## Operations\n\n"
    rows = (row(operation) for operation in gateway_openapi.OPERATIONS)
    text += table(("operation", "what it does", "needs", "body"), rows)
    text += "\nA key that manages has the role `administrator` and is not limited to some seals.\n"
    return text + bodies(components)


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


def rows_of(model: type[Settings | GatewaySettings], prefix: str) -> Iterator[tuple[str, ...]]:
    """A row for each setting."""
    for name, field in model.model_fields.items():
        yield (
            f"`{name}`",
            f"`{prefix}{name.upper()}`",
            default(field.default_factory, field.default),
            field.description or "",
        )


SETTINGS = ("in the TOML file", "variable", "default", "meaning")


def settings() -> str:
    """Every setting of the service."""
    return (
        f"{MADE}# Settings of the signing service\n\nVariables come before the TOML file that "
        f"`{PREFIX}CONFIG` names. `hashseal-server check-config`\nshows what is in force.\n\n"
        f"{table(SETTINGS, rows_of(Settings, PREFIX))}"
    )


def gateway_settings() -> str:
    """Every setting of the gateway."""
    return (
        f"{MADE}# Settings of the gateway\n\nVariables come before the TOML file that "
        f"`{GATEWAY_PREFIX}CONFIG` names, or `gateway.toml` in the\ndata folder. "
        f"`hashseal-gateway check-config` shows what is in force.\n\n"
        f"{table(SETTINGS, rows_of(GatewaySettings, GATEWAY_PREFIX))}"
    )


def commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """A command and what is below it."""
    if hasattr(command, "commands"):
        for below, one in command.commands.items():
            yield from commands(f"{name} {below}", one)
    else:
        yield name, command


def command_line() -> str:
    """All commands."""
    text = MADE + "# Command line\n"
    for name, app in (
        ("hashseal", hashseal.cli.app),
        ("hashseal-server", hashseal_server.cli.app),
        ("hashseal-gateway", hashseal_gateway.cli.app),
    ):
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
        "gateway-api.md": gateway_api(),
        "gateway-settings.md": gateway_settings(),
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
