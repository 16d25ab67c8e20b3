"""The typed API of the web application, from the service's own OpenAPI document.

    python -m web.client      writes `openapi.json` (of the service) and `src/api.gen.ts` (of the document)

A test compares the document with the service, a build the types with the document.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

HEAD: Final = "// Written by `python -m web.client` from openapi.json. Do not edit.\n"
PREFIX: Final = "/api/"
STRUCTURED: Final = ("application/json", "text/event-stream")
JSON_TYPES: Final = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}


class CannotRead(Exception):
    """Something in the document for which there is no TypeScript yet."""


def types(document: Mapping[str, Any]) -> str:
    """The models and, by `METHOD path`, what each route of the page takes and answers."""
    routes = {
        f"{method.upper()} {path}": operation
        for path, methods in sorted(document["paths"].items())
        if path.startswith(PREFIX)
        for method, operation in methods.items()
    }
    schemas = document["components"]["schemas"]
    used = sorted(_closure(routes, schemas))
    models = "\n".join(
        f"{_comment(schemas[name])}export type {_name(name)} = {_type(schemas[name])};\n" for name in used
    )
    table = "\n".join(f'  "{key}": {_route(operation)};' for key, operation in routes.items())
    return f"{HEAD}\n{models}\nexport interface Routes {{\n{table}\n}}\n"


def is_fresh(web: Path) -> bool:
    """Whether the types are those of the document beside them."""
    document = json.loads((web / "openapi.json").read_text(encoding="utf-8"))
    return (web / "src" / "api.gen.ts").read_text(encoding="utf-8") == types(document)


def document_text(document: Mapping[str, Any]) -> str:
    """The document as it is kept: a change is a diff of lines."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _closure(routes: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> set[str]:
    """Every schema that a route of the page needs."""
    found: set[str] = set()
    waiting = list(_references(routes))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_references(schemas[name]))
    return found


def _references(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(target := value.get("$ref"), str):
            yield target.rpartition("/")[2]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _route(operation: Schema) -> str:
    parameters = operation.get("parameters", [])
    parts = {
        "path": _object([one for one in parameters if one["in"] == "path"]),
        "query": _object([one for one in parameters if one["in"] == "query"]),
        "body": _content(operation.get("requestBody", {})) or "undefined",
        "answer": _answer(operation["responses"]),
    }
    return "{ " + "; ".join(f"{name}: {kind}" for name, kind in parts.items()) + " }"


def _object(parameters: list[Schema]) -> str:
    fields = (
        f"{one['name']}{'' if one.get('required') else '?'}: {_type(one['schema'])}" for one in parameters
    )
    return "{ " + "; ".join(fields) + " }" if parameters else "undefined"


def _answer(responses: Mapping[str, Schema]) -> str:
    """What the success answers; an event stream answers its events."""
    kinds = [
        _content(answer) or "undefined" for status, answer in responses.items() if status.startswith("2")
    ]
    return _either(kinds)


def _content(part: Schema) -> str | None:
    for media, content in part.get("content", {}).items():
        return _type(content.get("schema", {})) if media in STRUCTURED else "string"
    return None


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return _name(schema["$ref"].rpartition("/")[2])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return _either([json.dumps(one) for one in schema["enum"]])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return _either([_type(one) for one in schema[key]])
    match schema.get("type"):
        case "array":
            return _array(schema)
        case "object":
            return _record(schema)
        case str(kind) if kind in JSON_TYPES:
            return JSON_TYPES[kind]
        case None:
            return "unknown"
    raise CannotRead(f"{schema} is not understood; teach `web/client.py` to read it")


def _array(schema: Schema) -> str:
    if prefix := schema.get("prefixItems"):
        return "[" + ", ".join(_type(one) for one in prefix) + "]"
    return f"readonly ({_type(schema.get('items', {}))})[]"


def _record(schema: Schema) -> str:
    if "properties" not in schema:
        return f"Record<string, {_type(schema.get('additionalProperties') or {})}>"
    required = schema.get("required", ())
    fields = (
        f"{_comment(one, indent='  ')}  {name}{'' if name in required else '?'}: {_type(one)};"
        for name, one in schema["properties"].items()
    )
    return "{\n" + "\n".join(fields) + "\n}"


def _either(kinds: list[str]) -> str:
    return " | ".join(dict.fromkeys(kinds)) or "undefined"


def _name(name: str) -> str:
    return re.sub(r"\W", "", name)


def _comment(schema: Schema, indent: str = "") -> str:
    words = " ".join(schema.get("description", "").split()).replace("*/", "")
    return f"{indent}/** {words} */\n" if words else ""


def document() -> dict[str, Any]:
    """What the service says of itself. Nothing is opened, nothing answers."""
    from sqlalchemy.orm import Session, sessionmaker

    from parley.service.app import create_app
    from parley.service.common.settings import Settings

    nobody: Any = None
    return create_app(
        sessions=sessionmaker[Session](),
        responder=nobody,
        moderator=nobody,
        run_view=nobody,
        settings=Settings(),
    ).openapi()


def main() -> int:
    """Writes both files."""
    web = Path(__file__).parent
    told = document()
    (web / "openapi.json").write_text(document_text(told), encoding="utf-8")
    (web / "src" / "api.gen.ts").write_text(types(told), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
