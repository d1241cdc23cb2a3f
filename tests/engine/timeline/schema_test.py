"""The schema and the parser judge the example documents alike.

usage: schema_test.py SOURCE_FOLDER TIMELINE_CHECK [SEED]

Every valid document passes both. Every invalid one is refused by the parser at the place that its
.expect file names, and by the schema too, unless tests/data/timelines/README.md lists it among
those that a schema cannot express (and then the schema must indeed accept it, so that the list
stays true). Then a few hundred random changes to the valid ones: what the parser accepts, the schema accepts.
Exit status 77 without python3-jsonschema.
"""

import copy
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

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
# -- random changes

VALUES = [0, 1, -1, 2, 0.5, 1.5, 1e9, 10**9, 10**9 + 1, -0.5, "", "x", "1s", "1/3s", "3/2", "0s", "1/0s",
          "01/02s", "1000000/1000000s", "1/1000001s", "#fff", "#FFF0", "in", "file:a", "film", None,
          True, False, [], {}, [0, 0], [1, 1], [0, 0, 0, 0], [0.5, 0, 0.5, 1], "30", "29.97", "240/1",
          "text", "audio", "image", "left", {"keyframes": [{"at": 0, "value": 1}]}]
FIELDS = ["loop", "in", "speed", "id", "fit", "opacity", "fade_in", "transition", "sound", "muted",
          "text", "shape", "tone", "radius", "colour", "name", "points", "fill_to", "easing", "extra"]


def places(value):
    """Every (container, key) in a document."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


def change(document, dice):
    container, key = dice.choice(list(places(document)))
    action = dice.randrange(4)
    if action == 0:
        del container[key]
    elif action == 1 and isinstance(container, dict):
        container[dice.choice(FIELDS)] = copy.deepcopy(dice.choice(VALUES))
    elif action == 1:
        container.append(copy.deepcopy(container[key]))
    else:
        container[key] = copy.deepcopy(dice.choice(VALUES))


seed = int(sys.argv[3]) if len(sys.argv) > 3 else time.time_ns()
dice = random.Random(seed)
print(f"seed {seed}")
with tempfile.TemporaryDirectory() as folder:
    paths = []
    for i in range(600):
        document = json.loads(dice.choice(valid).read_text())
        for _ in range(dice.randint(1, 2)):
            change(document, dice)
        paths.append(pathlib.Path(folder, f"{i}.json"))
        paths[-1].write_text(json.dumps(document))
    answers = subprocess.run([check, *paths], capture_output=True, text=True).stdout.splitlines()
    accepted = [path for path, answer in zip(paths, answers, strict=True) if answer == "ok"]
    for path in accepted:
        if not schema_accepts(path):
            failures += 1
            print(f"only the parser accepts {path.read_text()}")
    print(f"{len(accepted)} of {len(paths)} changed documents accepted")

print(f"{len(valid)} valid, {len(invalid)} invalid documents, {failures} failures")
sys.exit(failures > 0)
