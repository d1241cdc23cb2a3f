// The API from end to end: a real database and coordinator, every answer held against the contract.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import WebSocket from "ws";

import { Client } from "./client.js";
import { assertMatches, document, schemaOf } from "./contract.js";
import { Server, top } from "./server.js";
import { sourceTests } from "./sources.js";

const MiB = 1 << 20;
const canary = "canary-b7e1c05f-stream-key";
const unknownHash = "0123456789abcdef".repeat(4);
const timeline = (more = {}) => ({
  schema: "vistter.timeline/1",
  format: { width: 320, height: 180, rate: "25" },
  duration: 50,
  tracks: [{ clips: [{ id: "bars", kind: "pattern", pattern: { kind: "bars" }, start: 0, duration: 50 }] }],
  ...more,
});
const program = join(process.env.VISTTER_BUILD ?? join(top, "build/release"), "coordinator/vistter");
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

let server, client;
before(async () => {
  server = await Server.start();
  client = new Client(server);
});
after(async () => {
  const status = await server?.stop();
  assert.equal(status, 0, "the coordinator ends in peace");
});

const call = (...args) => client.call(...args);

async function refused(status, code, path, ...args) {
  const answer = await call(...args);
  assert.equal(answer.status, status, `${args.slice(0, 2)}: ${answer.body}`);
  if (code) assert.equal(answer.json.code, code, `${args.slice(0, 2)}: ${answer.body}`);
  if (path !== null) assert.equal(answer.json.path, path, `${args.slice(0, 2)}: ${answer.body}`);
  return answer;
}

async function accepted(status, ...args) {
  const answer = await call(...args);
  assert.equal(answer.status, status, `${args.slice(0, 2)}: ${answer.body}`);
  return answer.json;
}

// ---- What works -------------------------------------------------------------------------------

test("an empty farm has a status", async () => {
  const status = await accepted(200, "GET", "/status");
  assert.equal(status.database, "up");
  assert.deepEqual(status.channels, []);
  assert.deepEqual(await accepted(200, "GET", "/nodes"), []);
  assert.deepEqual(await accepted(200, "GET", "/channels"), []);
});

test("a channel is created, with defaults, and only once", async () => {
  const channel = await accepted(201, "POST", "/channels", { json: { name: "one" } });
  assert.deepEqual([channel.width, channel.height, channel.rate, channel.state, channel.timeline],
    [1280, 720, "30", "stopped", ""]);
  assert.equal(channel.revision, null);
  assert.deepEqual(await accepted(200, "GET", "/channels/one"), channel);
  await refused(409, "exists", null, "POST", "/channels", { json: { name: "one" } });
  const ntsc = await accepted(201, "POST", "/channels",
    { json: { name: "ntsc", width: 320, height: 180, rate: "29.97" } });
  assert.equal(ntsc.rate, "30000/1001");
  assert.deepEqual((await accepted(200, "GET", "/channels")).map((c) => c.name), ["one", "ntsc"]);
});

test("timelines are kept byte for byte, and the same bytes make no new revision", async () => {
  const first = JSON.stringify(timeline(), null, 3);
  const put = (body) => accepted(200, "PUT", "/timelines/demo",
    { body, headers: { "content-type": "application/json" } });
  assert.deepEqual(await put(first), { name: "demo", revision: 1, sha256: sha256(first) });
  assert.equal((await put(first)).revision, 1);
  const second = JSON.stringify(timeline({ background: "#102030" }));
  assert.equal((await put(second)).revision, 2);
  const newest = await call("GET", "/timelines/demo");
  assert.equal(newest.body.toString(), second);
  assert.equal(newest.headers.get("x-revision"), "2");
  assert.equal(newest.headers.get("x-content-sha256"), sha256(second));
  const old = await call("GET", "/timelines/demo?revision=1");
  assert.equal(old.body.toString(), first);
  const [entry] = await accepted(200, "GET", "/timelines");
  assert.deepEqual([entry.name, entry.revision, entry.sha256], ["demo", 2, sha256(second)]);
  assert.equal((await call("GET", `/media/${sha256(first)}`)).body.toString(), first);
  assert.equal((await call("HEAD", `/media/${sha256(first)}`)).status, 200);
});

test("a timeline can be checked without being kept", async () => {
  const checked = await accepted(200, "POST", "/timelines/check", { json: timeline() });
  assert.deepEqual(checked, { ok: true, duration: 50, tracks: 1 });
  assert.equal((await accepted(200, "GET", "/timelines")).length, 1);
});

test("a channel starts, changes and stops, and its log says so", async () => {
  const started = await accepted(200, "POST", "/channels/one/start",
    { json: { timeline: "demo", revision: 1 } });
  assert.equal(started.timeline, "demo");
  assert.equal(started.revision.number, 1);
  // Without nodes it waits, and says what for.
  let waiting;
  const deadline = Date.now() + 10000;
  do waiting = await accepted(200, "GET", "/channels/one");
  while (waiting.text === "" && Date.now() < deadline);
  assert.equal(waiting.state, "waiting");
  assert.notEqual(waiting.text, "");
  await refused(409, "on_air", null, "POST", "/channels/one/start", { json: { timeline: "demo" } });
  await refused(409, "on_air", null, "DELETE", "/channels/one");
  const changed = await accepted(200, "PUT", "/channels/one/timeline", { json: { timeline: "demo" } });
  assert.equal(changed.revision.number, 2);
  assert.equal((await accepted(200, "POST", "/channels/one/stop")).state, "stopped");
  await accepted(200, "POST", "/channels/one/stop");
  await refused(409, "not_on_air", null, "PUT", "/channels/one/timeline", { json: { timeline: "demo" } });
  const events = await accepted(200, "GET", "/channels/one/events");
  assert.deepEqual(events.map((e) => e.kind), ["started", "revision", "stopped"]);
  assert.deepEqual(events.map((e) => e.seq), [1, 2, 3]);
  assert.deepEqual(events.map((e) => e.payload.number), [1, 2, undefined]);
  // Without nodes no plan was ever committed: what was asked for took no effect.
  assert.deepEqual(events.map((e) => typeof e.at_frame), ["object", "object", "number"]);
});

test("requests at the same time leave the farm with what the log says last", async () => {
  const names = Array.from({ length: 24 }, (_, i) => `race${i}`);
  const post = (path, json) => client.call("POST", path, { json });
  await Promise.all(names.map((name) => accepted(201, "POST", "/channels", { json: { name } })));
  await Promise.all(names.map(async (name) => {
    const path = `/channels/${name}`;
    const starts = await Promise.all([1, 2, 3].map(() => post(`${path}/start`, { timeline: "demo" })));
    assert.deepEqual(starts.map((a) => a.status).sort(), [200, 409, 409], name);
    assert.equal(starts.filter((a) => a.json.code === "on_air").length, 2);
    await Promise.all([
      post(`${path}/destinations`, { name: "archive", kind: "recording" }),
      client.call("POST", `${path}/stop`),
      client.call("PUT", `${path}/timeline`, { json: { timeline: "demo", revision: 1 } }),
      client.call("DELETE", `${path}/destinations/archive`),
      client.call("POST", `${path}/stop`),
    ]);
    const events = await accepted(200, "GET", `${path}/events`);
    assert.equal(events.filter((e) => e.kind === "started").length, 1, name);
    assert.equal(events.at(-1).kind, "stopped", name);
    assert.equal(events.filter((e) => e.kind === "stopped").length, 1, name);
  }));
  const channels = await accepted(200, "GET", "/channels");
  for (const channel of channels) assert.equal(channel.state, "stopped", channel.name);
  // A stop and a start at once: whichever came last.
  await Promise.all(names.map(async (name) => {
    const path = `/channels/${name}`;
    await Promise.all([post(`${path}/start`, { timeline: "demo" }), client.call("POST", `${path}/stop`)]);
    const on = (await accepted(200, "GET", `${path}/events`)).at(-1).kind !== "stopped";
    assert.equal((await accepted(200, "GET", path)).state !== "stopped", on, name);
    const ends = await Promise.all([client.call("POST", `${path}/stop`), client.call("DELETE", path)]);
    assert.ok(ends[1].status === 204 || (await call("DELETE", path)).status === 204, name);
  }));
});

test("destinations come and go, and never show their keys", async () => {
  const path = "/channels/one/destinations";
  const added = await accepted(201, "POST", path,
    { json: { name: "platform", kind: "rtmp", url: "rtmp://127.0.0.1:9/live", key: canary } });
  assert.deepEqual([added.kind, added.url, added.state], ["rtmp", "rtmp://127.0.0.1:9/live", "stopped"]);
  const twice = { name: "twice", kind: "rtmp", url: "rtmp://127.0.0.1:9/live", backup_url: "rtmp://127.0.0.1:8/live2?backup=1" };
  const { backup } = await accepted(201, "POST", path, { json: { ...twice, key: canary } });
  assert.deepEqual([backup.url, backup.state], [twice.backup_url, "stopped"]);
  await accepted(204, "DELETE", `${path}/twice`);
  await refused(422, "bad_value", "backup_url", "POST", path, { json: { ...twice, backup_url: "rtmp://h/a?key=1" } });
  await accepted(201, "POST", path, { json: { name: "archive", kind: "recording" } });
  await refused(409, "exists", null, "POST", path, { json: { name: "archive", kind: "recording" } });
  assert.equal((await accepted(200, "GET", path)).length, 2);
  assert.equal((await accepted(200, "GET", "/channels/one")).destinations.length, 2);
  await accepted(204, "DELETE", `${path}/archive`);
  await refused(404, "not_found", null, "DELETE", `${path}/archive`);
  assert.deepEqual((await accepted(200, "GET", path)).map((d) => d.name), ["platform"]);
});

test("a channel makes further outputs, and their destinations go with them", async () => {
  const path = "/channels/one/outputs";
  const clean = { name: "clean", tracks: 1 };
  const channel = await accepted(200, "GET", "/channels/one");
  assert.deepEqual(await accepted(201, "POST", path, { json: clean }),
    { name: "clean", width: channel.width, height: channel.height, tracks: 1, edge: "", backup_edge: "" });
  await accepted(201, "POST", path, { json: { name: "small", width: 320, height: 180 } });
  await refused(409, "exists", "clean", "POST", path, { json: clean });
  await refused(422, "bad_value", "width", "POST", path, { json: { name: "odd", width: 321 } });
  await refused(422, "bad_value", "tracks", "POST", path, { json: { name: "odd", tracks: 65 } });
  assert.deepEqual((await accepted(200, "GET", path)).map((o) => o.name), ["clean", "small"]);
  const destination = { name: "clean-archive", kind: "recording", output: "clean" };
  assert.equal((await accepted(201, "POST", "/channels/one/destinations", { json: destination })).output, "clean");
  await refused(422, "unknown_output", "output", "POST", "/channels/one/destinations",
    { json: { name: "lost", kind: "recording", output: "nowhere" } });
  for (let i = 3; i <= 7; i++) await accepted(201, "POST", path, { json: { name: `output${i}` } });
  await refused(409, "outputs_full", "", "POST", path, { json: { name: "output8" } });
  for (const { name } of await accepted(200, "GET", path)) await accepted(204, "DELETE", `${path}/${name}`);
  await refused(404, "not_found", "clean", "DELETE", `${path}/clean`);
  const left = await accepted(200, "GET", "/channels/one");
  assert.deepEqual(left.outputs, []);
  assert.ok(!left.destinations.some((d) => d.name === "clean-archive"));
});

test("a channel is made by two edges or by one", async () => {
  assert.equal((await accepted(200, "GET", "/channels/one")).edges, 2);
  assert.equal((await accepted(200, "PUT", "/channels/one/edges", { json: { edges: 1 } })).edges, 1);
  await refused(422, "bad_value", "edges", "PUT", "/channels/one/edges", { json: { edges: 3 } });
  assert.equal((await accepted(200, "PUT", "/channels/one/edges", { json: { edges: 2 } })).edges, 2);
});

test("what stands by for a channel is none, cold or warm", async () => {
  assert.equal((await accepted(200, "GET", "/channels/one")).redundancy, "warm");
  for (const redundancy of ["none", "cold", "hot", "warm"])
    assert.equal((await accepted(200, "PUT", "/channels/one/redundancy", { json: { redundancy } })).redundancy, redundancy);
  await refused(422, "bad_value", "redundancy", "PUT", "/channels/one/redundancy", { json: { redundancy: "boiling" } });
});

test("nothing is taken where nothing is on air", async () => {
  const path = "/channels/one/takes", json = { track: "programme", clip: "wide" };
  assert.deepEqual((await accepted(200, "GET", "/channels/one")).live, []);
  await refused(409, "not_on_air", "one", "POST", path, { json });
  await refused(404, "not_found", "nowhere", "POST", "/channels/nowhere/takes", { json });
  await refused(422, null, null, "POST", path, { json: { ...json, clop: "wide" } });
});

test("a slate is a timeline that is known", async () => {
  const path = "/channels/one/slate";
  await refused(404, null, null, "PUT", path, { json: { timeline: "nowhere" } });
  const [{ name, revision, sha256 }] = await accepted(200, "GET", "/timelines");
  const { slate } = await accepted(200, "PUT", path, { json: { timeline: name, revision } });
  assert.deepEqual(slate, { timeline: name, sha256 });
  assert.equal((await accepted(200, "DELETE", path)).slate, null);
});

sourceTests(() => ({ server, client, accepted, refused, program, canary }));

test("media is imported once, served whole and in ranges, and used by a timeline", async () => {
  const clip = join(server.folder, "clip.mkv");
  execFileSync("ffmpeg", ["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=1", "-f", "lavfi",
    "-i", "sine=f=1000:d=1", "-c:v", "libx264", "-c:a", "flac", "-shortest", clip]);
  const bytes = readFileSync(clip);
  const hash = sha256(bytes);
  const headers = { "content-type": "application/octet-stream" };
  const document = timeline({ assets: { clip: `sha256:${hash}` } });
  document.tracks[0].clips[0] = { id: "clip", kind: "video", asset: "clip", start: 0, duration: 25 };
  assert.equal((await call("HEAD", `/media/${hash}`)).status, 404);
  await refused(422, null, "assets.clip", "PUT", "/timelines/clip", { json: document });
  await refused(422, "hash_mismatch", null, "PUT", `/media/${unknownHash}?name=clip.mkv`, { body: bytes, headers });
  await refused(404, null, null, "GET", `/media/${unknownHash}`);
  const facts = await accepted(201, "PUT", `/media/${hash}?name=clip.mkv`, { body: bytes, headers });
  assert.deepEqual([facts.sha256, facts.bytes, facts.width, facts.height, facts.rate, facts.picture_count],
    [hash, bytes.length, 160, 90, "25", 25]);
  // FFmpeg's sine has an amplitude of 1/8, here on both sides: EBU Tech 3341 makes that -18.06 LUFS.
  assert.ok(Math.abs(facts.loudness.integrated_lufs + 18.06) < 0.2, JSON.stringify(facts.loudness));
  assert.ok(Math.abs(facts.loudness.true_peak_dbtp + 18.06) < 0.7, JSON.stringify(facts.loudness));
  const again = await accepted(200, "PUT", `/media/${hash}?name=other.mkv`, { body: bytes, headers });
  assert.equal(again.name, "clip.mkv");
  const known = (await accepted(200, "GET", "/media")).filter((m) => m.sha256 === hash);
  assert.equal(known[0].poisoned, false);
  assert.deepEqual(known[0].loudness, facts.loudness);
  const list = spawnSync(program, ["--server", server.origin, "media", "list"], { encoding: "utf8" });
  assert.match(list.stdout, new RegExp(`clip.mkv .* ${facts.loudness.integrated_lufs.toFixed(1)} +-\\d+\\.\\d +- +${hash}`));
  await refused(404, null, null, "DELETE", `/media/${hash}/crashes`);
  assert.equal(known.length, 1);
  assert.ok((await call("GET", `/media/${hash}`)).body.equals(bytes));
  const range = await call("GET", `/media/${hash}`, { headers: { range: "bytes=10-19" } });
  assert.equal(range.status, 206);
  assert.ok(range.body.equals(bytes.subarray(10, 20)));
  for (const suffix of [".index", ".sound", ".json"]) {
    const part = await call("GET", `/media/${hash}${suffix}`);
    assert.equal(part.status, 200, suffix);
    assert.equal(part.headers.get("x-content-sha256"), sha256(part.body), suffix);
    const tail = await call("GET", `/media/${hash}${suffix}`, { headers: { range: "bytes=1-" } });
    assert.ok(tail.body.equals(part.body.subarray(1)), suffix);
  }
  await refused(405, null, null, "PUT", `/media/${hash}.index?name=x`, { body: "x", headers });
  await accepted(200, "PUT", "/timelines/clip", { json: document });
});

test("a film that is cut short is taken, and the answer says where it ends", async () => {
  const clip = join(server.folder, "whole.mp4");
  execFileSync("ffmpeg", ["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=8", "-movflags",
    "+faststart", "-c:v", "libx264", clip]);
  const whole = readFileSync(clip), half = whole.subarray(0, whole.length / 2);
  const headers = { "content-type": "application/octet-stream" };
  const put = (bytes) => accepted(201, "PUT", `/media/${sha256(bytes)}?name=film.mp4`, { body: bytes, headers });
  assert.equal((await put(whole)).damage, null);
  const { damage } = await put(half);
  const [first, parts] = damage.first.slice(0, -1).split("/").map(Number);
  assert.ok(damage.count >= 1 && first / parts > 2 && first / parts < 6, JSON.stringify(damage));
  // The command says it too, whether the file is sent or was there.
  const third = join(server.folder, "third.mp4");
  writeFileSync(third, whole.subarray(0, whole.length / 3));
  for (const there of [false, true]) {
    const run = spawnSync(program, ["--server", server.origin, "import", third], { encoding: "utf8" });
    assert.equal(run.status, 0, run.stderr);
    assert.match(run.stderr, /warning: third.mp4 is damaged or cut short in \d+ place/);
    assert.equal(run.stdout.includes("(was there)"), there);
  }
});

test("a file that an import left without its row is no media yet", async () => {
  const clip = join(server.folder, "tone.wav");
  execFileSync("ffmpeg", ["-v", "error", "-f", "lavfi", "-i", "sine=d=1", clip]);
  const bytes = readFileSync(clip);
  const hash = sha256(bytes);
  await accepted(201, "PUT", `/media/${hash}?name=tone.wav`, { body: bytes });
  await server.sql(`delete from media where sha256 = '${hash}'`);
  assert.equal((await call("HEAD", `/media/${hash}`)).status, 404);
  await accepted(201, "PUT", `/media/${hash}?name=tone.wav`, { body: bytes });
  assert.equal((await call("HEAD", `/media/${hash}`)).status, 200);
});

test("what is no media is refused, and nothing is left behind", async () => {
  const bytes = Buffer.from("no picture, no sound");
  await refused(422, null, null, "PUT", `/media/${sha256(bytes)}?name=note.txt`, { body: bytes });
  await refused(422, null, "name", "PUT", `/media/${sha256(bytes)}`, { body: bytes });
  await refused(422, null, null, "PUT", `/media/${sha256("")}?name=empty`, { body: "" });
  assert.deepEqual(readdirSync(join(server.folder, "media")).filter((n) => /upload|tmp/.test(n)), []);
});

// ---- Bad input --------------------------------------------------------------------------------

test("bad channels are refused with the field's name", async () => {
  const bad = [
    ["name", {}], ["name", { name: 7 }], ["name", { name: null }], ["name", { name: "x".repeat(65) }],
    ["width", { name: "bad", width: "1280" }], ["width", { name: "bad", width: 1281 }],
    ["width", { name: "bad", width: 1280.5 }], ["width", { name: "bad", width: 0 }],
    ["height", { name: "bad", height: 8194 }], ["height", { name: "bad", height: -720 }],
    ["rate", { name: "bad", rate: 30 }], ["rate", { name: "bad", rate: "fast" }],
    ["rate", { name: "bad", rate: "0" }], ["rate", { name: "bad", rate: "30/0" }],
    ["rate", { name: "bad", rate: "9".repeat(100) }], ["colour", { name: "bad", colour: "red" }],
  ];
  for (const [path, json] of bad) await refused(422, null, path, "POST", "/channels", { json });
  for (const name of ["", ".", "..", "a/b", "a b", "-a", "ä", "a\u0001", "a'; drop table channels; --"])
    await refused(422, null, null, "POST", "/channels", { json: { name } });
  assert.deepEqual((await accepted(200, "GET", "/channels")).map((c) => c.name), ["one", "ntsc"]);
});

test("bad starts and destinations are refused", async () => {
  const start = "/channels/one/start";
  await accepted(200, "POST", "/channels/one/stop");
  await refused(422, null, "timeline", "POST", start, { json: {} });
  await refused(422, null, "timeline", "POST", start, { json: { timeline: ["demo"] } });
  await refused(422, null, "revision", "POST", start, { json: { timeline: "demo", revision: 0 } });
  await refused(422, null, "revision", "POST", start, { json: { timeline: "demo", revision: "1" } });
  await refused(422, null, "at", "POST", start, { json: { timeline: "demo", at: 5 } });
  await refused(404, "not_found", null, "POST", start, { json: { timeline: "none" } });
  await refused(404, "not_found", null, "POST", start, { json: { timeline: "demo", revision: 99 } });
  for (const path of ["", "/events", "/destinations"])
    await refused(404, "not_found", null, "GET", `/channels/none${path}`);
  await refused(404, "not_found", null, "POST", "/channels/none/start", { json: { timeline: "demo" } });
  await refused(404, "not_found", null, "POST", "/channels/none/stop");
  await refused(404, "not_found", null, "PUT", "/channels/none/timeline", { json: { timeline: "demo" } });
  await refused(404, "not_found", null, "DELETE", "/channels/none");
  const path = "/channels/one/destinations";
  const bad = [
    ["kind", { name: "d" }], ["kind", { name: "d", kind: "tape" }], ["kind", { name: "d", kind: 1 }],
    ["kind", { name: "d", kind: "preview" }],
    ["url", { name: "d", kind: "rtmp" }], ["url", { name: "d", kind: "rtmp", url: "http://h/a" }],
    ["url", { name: "d", kind: "rtmp", url: `rtmp://user:${canary}@h/a` }],
    ["url", { name: "d", kind: "rtmp", url: "rtmp://h/a b" }],
    ["url", { name: "d", kind: "recording", url: "/etc/passwd" }],
    ["key", { name: "d", kind: "rtmp", url: "rtmp://h/a", key: `${canary}\nx` }],
    ["key", { name: "d", kind: "rtmp", url: "rtmp://h/a", key: canary.repeat(1000) }],
    ["key", { name: "d", kind: "rtmp", url: "rtmp://h/a", key: { secret: canary } }],
    ["secret", { name: "d", kind: "rtmp", url: "rtmp://h/a", secret: canary }],
  ];
  for (const [field, json] of bad) await refused(422, null, field, "POST", path, { json });
  await refused(422, null, null, "POST", path, { json: { name: "../d", kind: "recording" } });
});

test("bodies that are not the JSON asked for are refused", async () => {
  const headers = { "content-type": "application/json" };
  const send = (body) => ["POST", "/channels", { body, headers }];
  for (const body of ["", "{", '{"name":}', '{"name":"a"', "nope", '{"name":"a"}x', "\u0000", "{'name':'a'}",
    '{"name":"a","name":"b"}', '{"name":"\\u0000"}', "[".repeat(60000), '{"a":'.repeat(10000)])
    await refused(400, "json", null, ...send(body));
  await refused(400, "json", null, ...send(Buffer.from([0x22, 0xff, 0xfe, 0x22])));
  for (const body of ["[]", "null", "7", '"name"', "true"]) {
    const answer = await call(...send(body));
    assert.ok([400, 422].includes(answer.status), body);
  }
  const deep = `{"schema":"vistter.timeline/1","tracks":${"[".repeat(100000)}${"]".repeat(100000)}}`;
  await refused(422, null, null, "PUT", "/timelines/deep", { body: deep, headers });
});

test("other media types are refused", async () => {
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/json-patch+json", "application/jsonx"]) {
    const options = { body: '{"name":"typed"}', headers: { "content-type": type } };
    await refused(415, "media_type", null, "POST", "/channels", options);
    await refused(415, "media_type", null, "PUT", "/timelines/typed", options);
    await refused(415, "media_type", null, "POST", "/timelines/check", options);
  }
  await accepted(201, "POST", "/channels",
    { body: '{"name":"typed"}', headers: { "content-type": "Application/JSON; charset=utf-8" } });
  await accepted(204, "DELETE", "/channels/typed");
});

test("invalid timelines are refused at the place that is wrong", async () => {
  const folder = join(top, "tests/data/timelines/invalid");
  const headers = { "content-type": "application/json" };
  for (const name of readdirSync(folder).filter((n) => n.endsWith(".json"))) {
    const body = readFileSync(join(folder, name));
    // Relative files beside a document mean nothing here: only those problems can differ.
    if (/"[^"]*\.json"/.test(body.toString("latin1"))) continue;
    const expected = readFileSync(join(folder, name.replace(".json", ".expect")), "utf8").trim();
    const answer = await call("POST", "/timelines/check", { body, headers });
    assert.equal(answer.status, 422, `${name}: ${answer.body}`);
    assert.equal(answer.json.path, expected, `${name}: ${answer.body}`);
  }
  await refused(422, null, null, "PUT", "/timelines/a%20b", { json: timeline() });
  await refused(404, "not_found", null, "GET", "/timelines/none");
  await refused(404, "not_found", null, "GET", "/timelines/demo?revision=99");
  for (const revision of ["0", "-1", "x", "1x", "", "99999999999999999999999999"]) {
    const answer = await call("GET", `/timelines/demo?revision=${revision}`);
    assert.ok([404, 422].includes(answer.status), `revision ${revision}: ${answer.status}`);
  }
});

test("huge bodies are refused without being held", async () => {
  const before = server.peakMemory();
  const big = { "POST /channels": 100 * MiB, "PUT /timelines/big": 100 * MiB,
    "POST /timelines/check": 100 * MiB, "POST /channels/one/start": 65537 };
  for (const [where, size] of Object.entries(big)) {
    const [method, path] = where.split(" ");
    const answer = await client.raw(`${method} /api/v1${path} HTTP/1.1\r\nHost: localhost\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${size}\r\n\r\n`);
    assert.match(answer, /^HTTP\/1.1 413 .*application\/problem\+json/s, where);
    assertMatches(schemaOf("problem"), JSON.parse(answer.split("\r\n\r\n")[1]), where);
    assert.ok([413, 0].includes(await client.flood(method, path, size)), where);
  }
  const length = await client.raw("POST /api/v1/channels HTTP/1.1\r\nHost: localhost\r\n" +
    "Content-Type: application/json\r\nContent-Length: 99999999999999999999\r\n\r\n");
  assert.match(length, /^HTTP\/1.1 4\d\d /);
  const grown = server.peakMemory() - before;
  assert.ok(grown < 64 * MiB, `${grown} bytes more than before`);
  await accepted(200, "GET", "/status");
});

test("unknown paths and wrong methods are problems", async () => {
  for (const path of ["", "/", "/nothing", "/channels/one/two/three/four/five/six/seven", "/status/x",
    "/channels/one/destinations/platform/x", "/channels//start"]) {
    const answer = await call("GET", path);
    assert.equal(answer.status, 404, path);
  }
  const wrong = { "POST /status": "GET", "PUT /channels": "POST", "DELETE /timelines/demo": "PUT",
    "GET /channels/one/start": "POST", "GET /channels/one/timeline": "PUT", "PATCH /channels/one": "DELETE",
    "GET /timelines/check": "POST", "DELETE /media": "GET", "GET /channels/one/destinations/platform": "DELETE" };
  for (const [where, allowed] of Object.entries(wrong)) {
    const [method, path] = where.split(" ");
    const answer = await call(method, path);
    assert.equal(answer.status, 405, where);
    const allow = answer.headers.get("allow").split(/, */);
    assert.ok(allow.includes(allowed) && !allow.includes(method), `${where}: ${allow}`);
  }
  for (const path of ["/nothing", "/app.jsx", "/../coordinator/main.c"]) {
    const reply = await fetch(server.origin + path);
    assert.equal(reply.status, 404, path);
    assertMatches(schemaOf("problem"), await reply.json(), path);
  }
  assert.equal((await fetch(`${server.origin}/`, { method: "POST", body: "x" })).status, 405);
});

test("HEAD answers like GET, without a body", async () => {
  for (const path of ["/status", "/nodes", "/channels", "/channels/one", "/sources", "/sources/cam1", "/timelines",
    "/timelines/demo", "/media", "/channels/one/events"])
    assert.equal((await call("HEAD", path)).status, 200, path);
  assert.equal((await call("HEAD", "/channels/none")).status, 404);
  // Two requests on one connection: a body after a HEAD would be taken for the second answer.
  const two = await client.raw("HEAD /api/v1/timelines/demo HTTP/1.1\r\nHost: localhost\r\n\r\n" +
    "GET /api/v1/nodes HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  assert.equal(two.split(/HTTP\/1\.1 200 OK\r\n/).length, 3, two);
  assert.doesNotMatch(two, /vistter\.timeline/);
});

test("nothing outside can be named", async () => {
  const secret = readFileSync(join(server.folder, "keys/secret.key"), "latin1").trim();
  for (const target of [
    "/../../../../etc/passwd", "/api/v1/media/../keys/secret.key", "/api/v1/media/..%2fkeys%2fsecret.key",
    "/api/v1/media/%2e%2e/keys/secret.key", "/%2e%2e/%2e%2e/etc/passwd", "/..\\..\\etc\\passwd",
    `/api/v1/media/${unknownHash}/../../keys/secret.key`, `/api/v1/media/${unknownHash}.json/../../../keys/secret.key`,
    `/api/v1/media/${unknownHash}%00.json`, "/api/v1/media/....//keys/secret.key", "//etc/passwd", "/api/v1/%ff%fe",
    "/api/v1/channels/%ff", "/api/v1/timelines/%c3%28",
  ]) {
    const answer = await client.raw(`GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    assert.match(answer, /^HTTP\/1\.1 (400|404) /, `${target}: ${answer.slice(0, 200)}`);
    assert.ok(!answer.includes(secret) && !answer.includes("root:"), target);
    assertMatches(schemaOf("problem"), JSON.parse(answer.slice(answer.indexOf("\r\n\r\n"))), target);
  }
});

test("broken HTTP is refused, and the coordinator goes on", async () => {
  const line = "POST /api/v1/channels HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  const raw = [
    "nonsense\r\n\r\n", "GET\r\n\r\n", "\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", `GET /${"a".repeat(20000)} HTTP/1.1\r\n\r\n`,
    `GET / HTTP/1.1\r\nX: ${"a".repeat(20000)}\r\n\r\n`, "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003",
    `${line}Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}   `, `${line}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
    `${line}Content-Length: -1\r\n\r\n`, `${line}Content-Length: x\r\n\r\n`, `${line}\r\n`, "BREW /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
  ];
  for (const bytes of raw) {
    const answer = await client.raw(Buffer.from(bytes, "latin1"));
    assert.ok(!/^HTTP\/1\.. 2/.test(answer), `${JSON.stringify(bytes.slice(0, 60))}: ${answer.slice(0, 80)}`);
  }
  await accepted(200, "GET", "/status");
});

test("other origins may not change anything", async () => {
  for (const origin of ["http://evil.example", "null", `http://127.0.0.1.evil.example:${server.port}`, "http://127.0.0.1:1"]) {
    const headers = { origin };
    await refused(403, "foreign_origin", null, "POST", "/channels/one/stop", { headers });
    await refused(403, "foreign_origin", null, "POST", "/channels", { headers, json: { name: "evil" } });
    await refused(403, "foreign_origin", null, "DELETE", "/channels/one", { headers });
    await refused(403, "foreign_origin", null, "PUT", `/media/${unknownHash}?name=x`, { headers, body: "x" });
  }
  await accepted(200, "POST", "/channels/one/stop", { headers: { origin: server.origin } });
  const reply = await fetch(`${server.origin}/api/v1/status`, { headers: { origin: "http://evil.example" } });
  assert.equal(reply.headers.get("access-control-allow-origin"), null);
});

// ---- WebSocket --------------------------------------------------------------------------------

const liveUrl = () => `ws://127.0.0.1:${server.port}/api/v1/live`;

// Messages as they come; next(type) waits for one of this type.
function listen(socket) {
  const waiting = [];
  const kept = [];
  socket.on("message", (data) => {
    client.transcript.push(data.toString("latin1"));
    const message = JSON.parse(data);
    assertMatches(schemaOf("live_message"), message, "live");
    const i = waiting.findIndex((w) => w.type === message.type);
    if (i >= 0) waiting.splice(i, 1)[0].done(message);
    else kept.push(message);
  });
  return (type) => {
    const i = kept.findIndex((m) => m.type === type);
    if (i >= 0) return Promise.resolve(kept.splice(i, 1)[0]);
    return new Promise((done) => waiting.push({ type, done }));
  };
}

test("the WebSocket sends the state at once, then every second, and news of timelines", async () => {
  const socket = new WebSocket(liveUrl(), { origin: server.origin });
  const next = listen(socket);
  const first = await next("broadcast:status");
  assert.deepEqual(first.channels.map((c) => c.name), ["one", "ntsc"]);
  assert.equal(first.database, "up");
  const put = await accepted(200, "PUT", "/timelines/news", { json: timeline() });
  assert.deepEqual(await next("timeline:update"), { type: "timeline:update", ...put });
  await accepted(201, "POST", "/channels", { json: { name: "late" } });
  let status;
  do status = await next("broadcast:status");
  while (!status.channels.some((c) => c.name === "late"));
  await accepted(204, "DELETE", "/channels/late");
  await accepted(200, "PUT", "/sources/late", { json: { input: { kind: "srt-listen", listen: ":9000" } } });
  do status = await next("broadcast:status");
  while (!status.sources.some((s) => s.name === "late"));
  await accepted(204, "DELETE", "/sources/late");
  // What a client says is a command, or refused in words; what is no text is nothing.
  socket.send(Buffer.alloc(1000));
  for (const [said, code, path, id] of [
    ["x".repeat(100000), "command", ""], ["x", "command", ""], ["[]", "command", ""], ["{}", "command", "type"],
    ['{"type":"take","id":[1]}', "command", "channel", [1]],
    ['{"type":"take","id":"a","channel":"one","track":"programme"}', "not_on_air", "one", "a"],
    ['{"type":"take","channel":"nowhere","track":"programme"}', "not_found", "nowhere"],
  ]) {
    socket.send(said);
    const { detail, ...refused } = await next("refused");
    assert.deepEqual(refused, { type: "refused", code, path, ...(id && { id }) });
    assert.ok(detail.length > 10, detail);
  }
  // The same in two frames, the way that a library may cut it.
  socket.send('{"type":"take",', { fin: false });
  socket.send('"channel":"nowhere"}');
  assert.equal((await next("refused")).code, "not_found");
  await next("broadcast:status");
  socket.close();
  await once(socket, "close");
  client.seen.add("openLive");
});

test("a WebSocket that asks for meters names channels that exist, eight at most", async () => {
  const answer = async (query) => {
    const socket = new WebSocket(`${liveUrl()}?meters=${query}`);
    const [error] = await once(socket, "error");
    return error.message;
  };
  assert.match(await answer("nobody"), /404/);
  assert.match(await answer("one,nobody"), /404/);
  assert.match(await answer(""), /404/);
  assert.match(await answer(Array(9).fill("one").join(",")), /400/);
  assert.match(await answer("x".repeat(2000)), /400/);
  const socket = new WebSocket(`${liveUrl()}?meters=one,ntsc,one`);
  await listen(socket)("broadcast:status");
  socket.close();
  await once(socket, "close");
});

test("pages of other origins cannot listen; programs can", async () => {
  for (const origin of ["http://evil.example", "null", `http://127.0.0.1.evil.example:${server.port}`]) {
    const socket = new WebSocket(liveUrl(), { origin });
    const [error] = await once(socket, "error");
    assert.match(error.message, /403|hang up/, origin);
  }
  const program = new WebSocket(liveUrl());
  await listen(program)("broadcast:status");
  program.terminate();
});

test("many listeners that vanish do no harm", async () => {
  const sockets = Array.from({ length: 60 }, () => new WebSocket(liveUrl()));
  await Promise.all(sockets.map((s) => new Promise((done) => {
    s.on("error", done);
    s.on("message", done);
  })));
  for (const s of sockets) s.terminate();
  await accepted(200, "GET", "/status");
});

// ---- What must hold at the end ----------------------------------------------------------------

test("without the database the state is still told, and changes are refused", async () => {
  await server.database("down");
  const status = await accepted(200, "GET", "/status");
  assert.equal(status.database, "down");
  assert.deepEqual(status.sources.map((s) => s.name), ["cam1"]);
  await refused(503, null, null, "GET", "/sources");
  await refused(503, null, null, "PUT", "/sources/offline", { json: { input: { kind: "srt-listen", listen: ":9" } } });
  await refused(503, null, null, "GET", "/channels");
  await refused(503, null, null, "POST", "/channels", { json: { name: "offline" } });
  await refused(503, null, null, "PUT", "/timelines/offline", { json: timeline() });
  await server.database("up");
  let back;
  const deadline = Date.now() + 30000;
  do back = await call("GET", "/channels");
  while (back.status !== 200 && Date.now() < deadline);
  assert.deepEqual(back.json.map((c) => c.name), ["one", "ntsc"]);
  assert.equal((await accepted(200, "GET", "/status")).database, "up");
});

test("nodes are drained and resumed", async () => {
  await server.sql("insert into nodes (name, role, facts) values ('w1', 'worker', '{}'), ('e1', 'edge', '{}')");
  const drains = (nodes) => nodes.filter((n) => n.draining).map((n) => n.name);
  assert.deepEqual(drains(await accepted(200, "PUT", "/nodes/w1/drain")), ["w1"]);
  assert.deepEqual(drains(await accepted(200, "GET", "/nodes")), ["w1"]);
  assert.deepEqual(drains(await accepted(200, "PUT", "/nodes/e1/drain")), ["e1", "w1"]);
  assert.deepEqual(drains(await accepted(200, "DELETE", "/nodes/e1/drain")), ["w1"]);
  await refused(404, null, "nobody", "PUT", "/nodes/nobody/drain");
  assert.deepEqual(drains(await accepted(200, "DELETE", "/nodes/w1/drain")), []);
});

test("channels can be deleted", async () => {
  for (const name of ["one", "ntsc"]) await accepted(204, "DELETE", `/channels/${name}`);
  assert.deepEqual(await accepted(200, "GET", "/channels"), []);
});

test("no stream key was ever answered or logged", () => {
  assert.ok(client.transcript.length > 100);
  for (const text of client.transcript) assert.ok(!text.includes(canary), text.slice(0, 300));
  const logs = server.logs();
  assert.ok(logs.length > 0);
  assert.ok(!logs.includes(canary));
});

test("every operation of the contract was used", () => {
  const all = Object.values(document.paths).flatMap((item) =>
    Object.values(item).filter((o) => o.operationId).map((o) => o.operationId));
  assert.deepEqual(all.filter((id) => !client.seen.has(id)), []);
});
