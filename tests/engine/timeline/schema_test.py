"""The schema and the parser judge the example documents alike.

usage: schema_test.py SOURCE_FOLDER TIMELINE_CHECK

Every valid document passes both. Every invalid one is refused by the parser at the place that its
.expect file names, and by the schema too, unless tests/data/timelines/README.md lists it among
those that a schema cannot express (and then the schema must indeed accept it, so that the list
stays true). Exit status 77 without python3-jsonschema.
"""

import json
import pathlib
import re
import subprocess
import sys

try:
    from jsonschema import Draft202012Validator
except ImportError:
    print("python3-jsonschema is not installed")
    sys.exit(77)

source, check = pathlib.Path(sys.argv[1]), sys.argv[2]
data = source / "tests/data/timelines"
schema = json.loads((source / "proto/timeline.schema.json").read_text())
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
beyond_schema = set(re.findall(r"^- `(\w+)\.json`", (data / "README.md").read_text(), re.M))
failures = 0


def fail(path, text):
    global failures
    failures += 1
    print(f"{path.relative_to(data)}: {text}")


def schema_accepts(path):
    try:
        return validator.is_valid(json.loads(path.read_bytes().decode("utf-8")))
    except ValueError:
        return False


def parser_says(path):
    return subprocess.run([check, path], capture_output=True, text=True).stdout.rstrip("\n")


valid = sorted((data / "valid").glob("*.json"))
invalid = sorted((data / "invalid").glob("*.json"))
for path in valid:
    if parser_says(path) != "ok":
        fail(path, parser_says(path))
    if not schema_accepts(path):
        fail(path, "the schema refuses it")
for path in invalid:
    expected, said = path.with_suffix(".expect").read_text().rstrip("\n"), parser_says(path)
    if said == "ok" or (expected and not said.startswith(expected + ": ")):
        fail(path, f"expected {expected!r}, the parser says {said!r}")
    if schema_accepts(path) != (path.stem in beyond_schema):
        fail(path, "the schema accepts it" if schema_accepts(path) else "the schema refuses it")
for name in beyond_schema - {path.stem for path in invalid}:
    fail(data / "README.md", f"there is no {name}.json")
print(f"{len(valid)} valid, {len(invalid)} invalid documents, {failures} failures")
sys.exit(failures > 0)
