"""What the web application is made of says what is so: the API's types, the lock file, the catalogues."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from web import assemble, client

WEB = Path(__file__).parents[2] / "web"
SOURCE = WEB / "src"
CATALOGUES = sorted(SOURCE.rglob("text.ts"))


def test_the_document_is_that_of_the_service() -> None:
    kept = (WEB / "openapi.json").read_text(encoding="utf-8")
    assert kept == client.document_text(client.document()), "run `python -m web.client`"


def test_the_types_are_those_of_the_document() -> None:
    assert client.is_fresh(WEB), "run `python -m web.client`"


def test_a_stale_client_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "openapi.json").write_text((WEB / "openapi.json").read_text(encoding="utf-8"))
    types = (SOURCE / "api.gen.ts").read_text(encoding="utf-8")
    (tmp_path / "src" / "api.gen.ts").write_text(types)
    assert client.is_fresh(tmp_path)
    (tmp_path / "src" / "api.gen.ts").write_text(types.replace("string", "number", 1))
    assert not client.is_fresh(tmp_path)


def test_what_the_built_files_are_made_of_is_what_lies_here() -> None:
    assert assemble.HERE.is_fresh(), "the web application is not of these sources: run `make setup`"


# --- the generator, on a document written by hand ---------------------------------------------------------

DOCUMENT = {
    "paths": {
        "/api/things/{id}": {
            "put": {
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
                    {"name": "deep", "in": "query", "schema": {"type": "boolean"}},
                ],
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing-Input"}}}
                },
                "responses": {
                    "200": {
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}
                    },
                    "404": {
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
                    },
                },
            }
        },
        "/v1/other": {"get": {"responses": {"200": {"description": "not the page's"}}}},
    },
    "components": {
        "schemas": {
            "Thing": {
                "type": "object",
                "description": "A thing.\n\nWith */ in it.",
                "required": ["kind", "parts"],
                "properties": {
                    "kind": {"enum": ["a", "b"], "type": "string"},
                    "parts": {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "null"}]}},
                    "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
                    "by_name": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
            "Thing-Input": {
                "type": "object",
                "properties": {"kind": {"const": "a"}},
                "required": ["kind"],
            },
            "Error": {"type": "object", "properties": {"why": {}}, "required": ["why"]},
            "Unused": {"type": "object", "properties": {}},
        }
    },
}


def test_types_by_hand() -> None:
    assert client.types(DOCUMENT) == (
        client.HEAD
        + """
export type Error = {
  why: unknown;
};

/** A thing. With  in it. */
export type Thing = {
  kind: "a" | "b";
  parts: readonly (number | null)[];
  pair?: [string, number];
  by_name?: Record<string, string>;
};

export type ThingInput = {
  kind: "a";
};

export interface Routes {
  "PUT /api/things/{id}": { path: { id: string }; query: { deep?: boolean }; body: ThingInput; answer: Thing };
}
"""
    )


def test_what_has_no_type_yet_is_named() -> None:
    with pytest.raises(client.CannotRead, match="strange"):
        client.types(
            {
                "paths": {
                    "/api/x": {
                        "get": {
                            "responses": {
                                "200": {"content": {"application/json": {"schema": {"type": "strange"}}}}
                            }
                        }
                    }
                },
                "components": {"schemas": {}},
            }
        )


# --- the lock file ----------------------------------------------------------------------------------------


def test_the_lock_file_names_no_registry_and_every_platform() -> None:
    packages = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    names = {path.rpartition("node_modules/")[2] for path in packages}
    for path, package in packages.items():
        assert "resolved" not in package, path
        assert not path or package["integrity"].startswith("sha512-"), path
        missing = set(package.get("optionalDependencies", ())) - names
        assert not missing, f"{path} lacks {missing}: platforms without them could not build"


def test_versions_are_pinned() -> None:
    package = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    for version in (*package["dependencies"].values(), *package["devDependencies"].values()):
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), version


# --- the catalogues ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda path: path.parent.name)
def test_both_languages_have_every_key_and_every_key_is_used(catalogue: Path) -> None:
    text = catalogue.read_text(encoding="utf-8")
    english, turkish = (set(keys_of(text, name)) for name in ("en", "tr"))
    assert english
    assert english == turkish
    used = {key for said in users_of(catalogue) for key in re.findall(r"\b(?:text|current)\.(\w+)", said)}
    assert english - used == set(), "no screen says this"


def keys_of(text: str, language: str) -> list[str]:
    """The keys on the first level of a catalogue's object."""
    body = re.search(rf"^const {language}\b[^=]*= \{{\n(.*?)^\}};", text, re.M | re.S)
    assert body, f"no `const {language} = {{` on lines of its own"
    return re.findall(r"^ {2}(\w+):", body[1], re.M)


def users_of(catalogue: Path) -> Iterator[str]:
    """The sources that read this catalogue."""
    for file in (*SOURCE.rglob("*.ts"), *SOURCE.rglob("*.tsx")):
        said = file.read_text(encoding="utf-8")
        for found in re.findall(r'from "([^"]*text)"', said):
            if (file.parent / f"{found}.ts").resolve() == catalogue.resolve():
                yield said


# --- what must not be in it -------------------------------------------------------------------------------


def test_nothing_becomes_markup_or_script() -> None:
    sinks = re.compile(
        r"dangerouslySetInnerHTML|\.innerHTML|\.outerHTML|insertAdjacentHTML|\beval\(|new Function|srcdoc",
        re.I,
    )
    for file in (*SOURCE.rglob("*.ts"), *SOURCE.rglob("*.tsx")):
        assert not sinks.search(file.read_text(encoding="utf-8")), file
