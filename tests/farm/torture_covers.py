#!/usr/bin/env python3
"""Do the torture timelines use everything that the schema of timelines knows?

Usage: torture_covers.py SOURCE_FOLDER

Walks proto/timeline.schema.json and the timelines of make-torture side by side, and names every
property of every kind of clip, every value of an enumeration and every alternative form that none of
them uses. A switch counts as used where it is true. Exit status 77 without python3-jsonschema.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

try:
    from jsonschema import Draft202012Validator
except ImportError:
    print("python3-jsonschema is not installed")
    sys.exit(77)

source = pathlib.Path(sys.argv[1])
schema = json.loads((source / "proto/timeline.schema.json").read_text())
known, used = set(), set()


def resolve(node, path):
    if "$ref" in node:
        name = node["$ref"].removeprefix("#/$defs/")
        return schema["$defs"][name], name
    return node, path


def list_known(node, path, seen):
    """Everything that can be used below a node of the schema."""
    node, path = resolve(node, path)
    if path in seen:
        return
    seen.add(path)
    for name, value in node.get("properties", {}).items():
        known.add(f"{path}.{name}")
        list_known(value, f"{path}.{name}", seen)
    for value in node.get("enum", []):
        known.add(f"{path} = {value}")
    for word in ("anyOf", "oneOf"):
        for i, part in enumerate(node.get(word, [])):
            known.add(f"{path}, form {i}")
            list_known(part, f"{path}({i})", seen)
    if "items" in node and isinstance(node["items"], dict):
        list_known(node["items"], f"{path}[]", seen)
    if isinstance(node.get("additionalProperties"), dict):
        list_known(node["additionalProperties"], f"{path}.*", seen)


def fits(node, value):
    return Draft202012Validator({**node, "$defs": schema["$defs"]}).is_valid(value)


def note_used(node, path, value):
    node, path = resolve(node, path)
    for name, part in node.get("properties", {}).items():
        if isinstance(value, dict) and name in value:
            if value[name] is not False:
                used.add(f"{path}.{name}")
            note_used(part, f"{path}.{name}", value[name])
    if value in node.get("enum", []):
        used.add(f"{path} = {value}")
    for word in ("anyOf", "oneOf"):
        for i, part in enumerate(node.get(word, [])):
            if fits(part, value):
                used.add(f"{path}, form {i}")
                note_used(part, f"{path}({i})", value)
    if isinstance(value, list) and isinstance(node.get("items"), dict):
        for item in value:
            note_used(node["items"], f"{path}[]", item)
    if isinstance(value, dict) and isinstance(node.get("additionalProperties"), dict):
        for item in value.values():
            note_used(node["additionalProperties"], f"{path}.*", item)


list_known(schema, "timeline", set())
failures = 0
with tempfile.TemporaryDirectory() as folder:
    subprocess.run([source / "tests/farm/make-torture", folder], check=True, stdout=subprocess.DEVNULL)
    for name in ("torture", "nested", "properties", "cameras", "scene"):
        document = json.loads(pathlib.Path(folder, f"{name}.json").read_text())
        for error in Draft202012Validator(schema).iter_errors(document):
            failures += 1
            print(f"{name}.json: {error.json_path}: {error.message[:200]}")
        note_used(schema, "timeline", document)
for name in sorted(known - used):
    failures += 1
    print(f"not used: {name}")
print(f"{len(known)} properties, values and forms, {len(known - used)} not used")
sys.exit(failures > 0)
