// The contract itself: valid OpenAPI 3.1, closed objects, one name per operation.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Validator } from "@seriousme/openapi-schema-validator";

import { assertMatches, document } from "./contract.js";

const methods = ["get", "head", "put", "post", "delete"];
const operations = Object.entries(document.paths).flatMap(([path, item]) =>
  methods.filter((m) => item[m]).map((m) => ({ path, method: m, ...item[m] })),
);

function* walk(node, at = "#") {
  if (node === null || typeof node !== "object") return;
  yield [at, node];
  for (const [key, value] of Object.entries(node)) yield* walk(value, `${at}/${key}`);
}

function resolve(node) {
  return node.$ref ? node.$ref.slice(2).split("/").reduce((o, key) => o?.[key], document) : node;
}

test("openapi.yaml is valid OpenAPI 3.1", async () => {
  const result = await new Validator().validate(structuredClone(document));
  assert.ok(result.valid, JSON.stringify(result.errors, null, 1));
  assert.equal(document.openapi, "3.1.0");
  assert.equal(document.info.license.identifier, "GPL-3.0-or-later");
});

test("every reference leads somewhere", () => {
  for (const [at, node] of walk(document))
    if (typeof node.$ref === "string") assert.ok(resolve(node), `${at}: ${node.$ref}`);
});

test("operations have names of their own, answers and problems", () => {
  const names = operations.map((o) => o.operationId);
  assert.equal(new Set(names).size, names.length);
  for (const o of operations) {
    assert.match(o.operationId, /^[a-z][A-Za-z]+$/, o.path);
    const statuses = Object.keys(o.responses);
    assert.ok(statuses.some((s) => s < 400) && statuses.some((s) => s >= 400), o.operationId);
    if (!["get", "head"].includes(o.method)) assert.ok(o.responses[403], `${o.operationId} lacks 403`);
    if (o.method === "head") continue;
    for (const status of statuses.filter((s) => s >= 400))
      assert.ok(resolve(o.responses[status]).content["application/problem+json"],
        `${o.operationId} ${status} is not a problem`);
  }
});

test("objects with members are closed, and require only members", () => {
  for (const [at, node] of walk(document.components.schemas)) {
    if (!node.properties || Array.isArray(node.properties) || at.endsWith("/properties")) continue;
    assert.equal(node.additionalProperties, false, at);
    for (const name of node.required ?? []) assert.ok(name in node.properties, `${at} ${name}`);
  }
});

test("examples keep to their schemas", () => {
  let count = 0;
  for (const [at, node] of walk(document)) {
    if (!node.schema || node.in || (!("example" in node) && !node.examples)) continue;
    const examples = node.examples ? Object.values(node.examples).map((e) => e.value) : [node.example];
    for (const example of examples) {
      assertMatches(node.schema, example, at);
      count++;
    }
  }
  assert.ok(count >= 8, `only ${count} examples`);
});
