"""JSON Schemas from custom resource definitions, strict: python k8s/schemas/from_crds.py CRD.yaml ... > custom.json

A cluster drops fields that a definition does not know, or refuses them, depending on how they are sent. Here all are
refused. What occurs more than once, such as the pod template, is written once. Descriptions are left out.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

NOTED = ("description", "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "format",
         "x-kubernetes-map-type", "default")  # fmt: skip
ONCE_BYTES = 200  # from this size on, what occurs twice becomes a definition of its own


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with unknown fields refused, and as plain JSON Schema."""
    made = {key: value for key, value in schema.items() if key not in NOTED}
    open_ended = made.pop("x-kubernetes-preserve-unknown-fields", False)
    if made.pop("x-kubernetes-int-or-string", False):
        made.pop("anyOf", None)
        made["type"] = ["integer", "string"]
    if made.pop("x-kubernetes-embedded-resource", False):
        open_ended = True
    if "properties" in made:
        made["properties"] = {name: strict(part) for name, part in made["properties"].items()}
        if not open_ended:
            made.setdefault("additionalProperties", False)
    if isinstance(made.get("additionalProperties"), dict):
        made["additionalProperties"] = strict(made["additionalProperties"])
    if "items" in made:
        made["items"] = strict(made["items"])
    if made.pop("nullable", False):
        made["type"] = [made["type"], "null"]
    return made


def shared(schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One schema file: `kinds` by name, and the parts that they share."""
    seen: Counter[str] = Counter()

    def count(part: Any) -> None:
        if isinstance(part, dict):
            text = _text(part)
            seen[text] += 1
            if seen[text] > 1:
                return
        for inner in _inner(part):
            count(inner)

    definitions: dict[str, Any] = {}

    def replaced(part: Any) -> Any:
        if isinstance(part, list):
            return [replaced(inner) for inner in part]
        if not isinstance(part, dict):
            return part
        text = _text(part)
        is_schema = isinstance(part.get("type"), str)  # not a list of properties, one of which is named type
        if is_schema and seen[text] > 1 and len(text) > ONCE_BYTES:
            name = hashlib.sha256(text.encode()).hexdigest()[:10]
            if name not in definitions:
                definitions[name] = {}
                definitions[name] = {key: replaced(value) for key, value in part.items()}
            return {"$ref": f"#/$defs/{name}"}
        return {key: replaced(value) for key, value in part.items()}

    for schema in schemas.values():
        count(schema)
    kinds = {kind: replaced(schema) for kind, schema in schemas.items()}
    return {"kinds": kinds, "$defs": dict(sorted(definitions.items()))}


def _inner(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return list(part.values())
    return part if isinstance(part, list) else []


def _text(part: Any) -> str:
    return json.dumps(part, sort_keys=True)


def kinds(crd: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """'group/version/Kind' -> schema of the version that is stored."""
    spec = crd["spec"]
    found = {}
    for version in spec["versions"]:
        if version["storage"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}  # checked by whoever stores it
            found[f"{spec['group']}/{version['name']}/{spec['names']['kind']}"] = schema
    return found


def main() -> None:
    schemas: dict[str, dict[str, Any]] = {}
    for path in sys.argv[1:]:
        for document in yaml.safe_load_all(Path(path).read_text()):
            if document:
                schemas |= kinds(document)
    print(json.dumps(shared(schemas), sort_keys=True, separators=(",", ":")))


if __name__ == "__main__":
    main()
