// proto/timeline.schema.json against the example timelines.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import Ajv from "ajv/dist/2020.js";

import { top } from "./server.js";

const folder = join(top, "tests/data/timelines");
const schema = JSON.parse(readFileSync(join(top, "proto/timeline.schema.json"), "utf8"));
const validate = new Ajv({ strict: true, strictTypes: false, strictRequired: false,
  allowUnionTypes: true }).compile(schema);
const names = (kind) => readdirSync(join(folder, kind)).filter((name) => name.endsWith(".json"));

// Why the file is refused; null when it is accepted.
function refusal(kind, name) {
  let document;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(join(folder, kind, name)));
    document = JSON.parse(text);
  } catch (error) {
    return String(error.message);
  }
  return validate(document) ? null : JSON.stringify(validate.errors);
}

// The README lists what a schema cannot say.
const listed = new Set(
  [...readFileSync(join(folder, "README.md"), "utf8").matchAll(/`([a-z0-9_]+\.json)`/g)].map((m) => m[1]),
);

test("valid timelines are accepted", () => {
  assert.ok(names("valid").length >= 10);
  for (const name of names("valid")) assert.equal(refusal("valid", name), null, name);
});

test("invalid timelines are refused, but for the listed ones", () => {
  assert.ok(names("invalid").length >= 50);
  for (const name of names("invalid"))
    assert.equal(refusal("invalid", name) === null, listed.has(name),
      `${name} is ${listed.has(name) ? "listed as not expressible, yet refused" : "accepted"}`);
});

test("the list names files that are there", () => {
  const there = new Set(names("invalid"));
  for (const name of listed) assert.ok(there.has(name), name);
});
