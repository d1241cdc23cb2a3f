// Holds answers against proto/openapi.yaml.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import Ajv from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { parse } from "yaml";

import { top } from "./server.js";

export const document = parse(readFileSync(join(top, "proto/openapi.yaml"), "utf8"));

const ajv = new Ajv({ strict: true, strictTypes: false, allErrors: true, allowUnionTypes: true });
formats.default(ajv);
for (const keyword of ["example", "components"]) ajv.addKeyword(keyword);
ajv.addSchema({ $id: "urn:vistter:api", components: { schemas: document.components.schemas } });

const compiled = new Map();

// A schema of the document, found by where it stands ("#/components/schemas/channel") or given.
function validator(schema) {
  const key = JSON.stringify(schema);
  if (!compiled.has(key)) {
    const absolute = JSON.parse(key.replaceAll('"$ref":"#/', '"$ref":"urn:vistter:api#/'));
    compiled.set(key, ajv.compile(absolute));
  }
  return compiled.get(key);
}

export function assertMatches(schema, value, what) {
  const validate = validator(schema);
  assert.ok(validate(value), `${what}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(value)}`);
}

export const schemaOf = (name) => ({ $ref: `#/components/schemas/${name}` });

function resolve(node) {
  if (!node?.$ref) return node;
  return node.$ref.slice(2).split("/").reduce((at, key) => at[key], document);
}

const templates = Object.keys(document.paths)
  .map((path) => ({
    path,
    pattern: new RegExp(`^/api/v1${path.replaceAll(/\{[a-z]+\}/g, "[^/]+")}$`),
  }))
  // What is written out goes before what is not: /timelines/check before /timelines/{timeline}.
  .sort((a, b) => a.path.split("{").length - b.path.split("{").length);

export function operationOf(method, pathname) {
  const template = templates.find((t) => t.pattern.test(pathname));
  return template && document.paths[template.path][method.toLowerCase()];
}

const problem = schemaOf("problem");

// `answer`: {status, headers: Headers, body: Buffer}. Gives the parsed JSON, or the bytes.
export function assertAnswer(method, pathname, answer) {
  const what = `${method} ${pathname} -> ${answer.status}`;
  const type = (answer.headers.get("content-type") ?? "").split(";")[0];
  const operation = operationOf(method, pathname);
  if (method === "HEAD" || answer.status === 204) {
    assert.equal(answer.body.length, 0, `${what}: has no body`);
    return null;
  }
  if (!operation) {
    assert.ok([404, 405].includes(answer.status), `${what}: not in the contract`);
    assert.equal(type, "application/problem+json", what);
    const body = JSON.parse(answer.body);
    assertMatches(problem, body, what);
    assert.equal(body.status, answer.status, what);
    return body;
  }
  const response = resolve(operation.responses[answer.status]);
  assert.ok(response, `${what}: status not in the contract: ${answer.body.slice(0, 300)}`);
  for (const [name, header] of Object.entries(response.headers ?? {})) {
    const value = answer.headers.get(name);
    assert.ok(value !== null || !header.required, `${what}: ${name} is missing`);
    if (value === null || !header.schema.$ref) continue;
    const integer = resolve(header.schema).type === "integer";
    assertMatches(header.schema, integer ? Number(value) : value, `${what} ${name}`);
  }
  assert.ok(response.content && type in response.content, `${what}: type ${type} not in the contract`);
  if (type === "application/octet-stream") return answer.body;
  const body = JSON.parse(answer.body);
  assertMatches(response.content[type].schema, body, what);
  if (type === "application/problem+json") assert.equal(body.status, answer.status, what);
  return body;
}
