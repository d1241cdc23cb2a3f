// Two coordinators at one database: one leads, the other passes requests on, and takes its place.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import WebSocket from "ws";

import { Client, seconds, until } from "./client.js";
import { Server, top } from "./server.js";

const TAKEOVER_S = 4; // what reliability asks of a change of leader

const leaderIn = (status) => status?.coordinators?.find((c) => c.state === "leads")?.name;
const statusAt = (origin) => fetch(`${origin}/api/v1/status`)
  .then((r) => (r.status === 200 ? r.json() : null), () => null);
const leaderAt = async (origin) => leaderIn(await statusAt(origin));

let server, origins, ports;
before(async () => {
  server = await Server.start({ bare: true });
  await server.database("up");
  await Promise.all([server.run("start", "coordinator"), server.run("start", "second")]);
  origins = { coordinator: server.origin, second: server.second.origin };
  ports = { coordinator: server.port, second: server.second.port };
});
after(() => server?.stop());

const at = (name) => new Client({ origin: origins[name], port: ports[name] });
// Who leads, and who follows, as both say.
async function roles() {
  const leader = await until(async () => {
    const names = await Promise.all(Object.values(origins).map(leaderAt));
    return names[0] && names[0] === names[1] && names[0];
  }, "a leader that both know");
  return [leader, leader === "second" ? "coordinator" : "second"];
}

test("of two coordinators at an empty database one leads, and the other answers as it does", async () => {
  const [leader, follower] = await roles();
  assert.equal(await server.sql("select count(*) from schema_migrations"),
    String(readdirSync(join(top, "migrations")).length));
  const listed = await until(async () => {
    const { coordinators } = await statusAt(origins[follower]);
    return coordinators.length === 2 && coordinators;
  }, "both in the list");
  assert.deepEqual(Object.fromEntries(listed.map((c) => [c.name, c.state])),
    { [leader]: "leads", [follower]: "follows" });
  assert.deepEqual(Object.fromEntries(listed.map((c) => [c.name, c.api_url])), origins);
});

test("all methods, errors and bodies pass through the one that follows", async () => {
  const [leader, follower] = await roles();
  const client = at(follower);
  assert.equal((await client.call("POST", "/channels", { json: { name: "one" } })).status, 201);
  assert.equal((await client.call("POST", "/channels", { json: { name: "one" } })).status, 409);
  assert.equal((await client.call("GET", "/channels/one")).json.name, "one");
  assert.equal((await client.call("GET", "/channels/none")).status, 404);
  assert.equal((await client.call("DELETE", "/channels/one")).status, 204);
  const head = await fetch(`${origins[follower]}/api/v1/media/${"0".repeat(64)}`, { method: "HEAD" });
  assert.equal(head.status, 404);
  assert.equal(head.headers.get("connection"), "close");
  // What a browser of another origin may not do, it may not do here.
  const foreign = await client.call("POST", "/channels",
    { json: { name: "x" }, headers: { origin: "http://evil.example" } });
  assert.equal(foreign.json.code, "foreign_origin");
  const own = await client.call("POST", "/channels",
    { json: { name: "two" }, headers: { origin: origins[follower] } });
  assert.equal(own.status, 201);
  // Passed on once; what has been passed on to one that does not lead comes back.
  const loop = await client.call("GET", "/status", { headers: { "x-vistter-forwarded": "somebody" } });
  assert.deepEqual([loop.status, loop.json.code], [503, "no_leader"]);
  assert.equal((await at(leader).call("GET", "/status",
    { headers: { "x-vistter-forwarded": follower } })).status, 200);
});

test("an upload passes through, whole", async () => {
  const [, follower] = await roles();
  // A second of sound and noise behind it, far more than any buffer on the way.
  const samples = randomBytes(24 << 20);
  const head = Buffer.alloc(44);
  head.write("RIFF", 0); head.writeUInt32LE(36 + samples.length, 4); head.write("WAVEfmt ", 8);
  head.writeUInt32LE(16, 16); head.writeUInt16LE(1, 20); head.writeUInt16LE(2, 22);
  head.writeUInt32LE(48000, 24); head.writeUInt32LE(192000, 28); head.writeUInt16LE(4, 32);
  head.writeUInt16LE(16, 34); head.write("data", 36); head.writeUInt32LE(samples.length, 40);
  const bytes = Buffer.concat([head, samples]);
  const hash = createHash("sha256").update(bytes).digest("hex");
  const put = () => at(follower).call("PUT", `/media/${hash}?name=noise.wav`,
    { body: bytes, headers: { "content-type": "application/octet-stream" } });
  const first = await put();
  assert.equal(first.status, 201, first.body.toString());
  assert.equal(first.json.sha256, hash);
  assert.equal((await put()).status, 200); // known: answered before the body has been read
  const back = await fetch(`${origins[follower]}/api/v1/media/${hash}`);
  assert.equal(createHash("sha256").update(Buffer.from(await back.arrayBuffer())).digest("hex"), hash);
});

// Messages of a WebSocket at a coordinator until it closes.
function listen(name, options = { origin: origins[name] }) {
  const socket = new WebSocket(`${origins[name].replace("http", "ws")}/api/v1/live`, options);
  const messages = [];
  socket.on("message", (data) => messages.push(JSON.parse(data)));
  socket.on("error", () => {});
  return { socket, messages, closed: new Promise((done) => socket.on("close", done)) };
}

test("a WebSocket passes through, both ways", async () => {
  const [, follower] = await roles();
  const { socket, messages, closed } = listen(follower);
  await until(() => messages.length >= 2, "two states");
  assert.equal(messages[0].type, "broadcast:status");
  const pong = new Promise((done) => socket.on("pong", done));
  socket.ping("hello");
  assert.equal((await pong).toString(), "hello");
  socket.close(1000);
  assert.equal(await closed, 1000);
  const foreign = listen(follower, { origin: "http://evil.example" });
  await foreign.closed;
  assert.equal(foreign.messages.length, 0);
});

// From the signal until the other leads, as its API says.
async function strike(signal) {
  const [leader, other] = await roles();
  const begin = Date.now();
  await server.run(signal, leader);
  await until(async () => (await leaderAt(origins[other])) === other, "another leader");
  const took = seconds(begin);
  console.log(`${signal}: another leads after ${took.toFixed(2)} s`);
  assert.ok(took <= TAKEOVER_S, `${took} s`);
  return [leader, other];
}

test("one that sleeps through its lease writes nothing when it wakes, follows, and leads again", async () => {
  const [leader, other] = await roles();
  const listener = listen(leader);
  await until(() => listener.messages.length, "a state");
  await strike("freeze");
  const rows = () => server.sql("select count(*) from channels where name like 'late%'");
  // Asked while it cannot know yet: these wait in its sockets.
  const late = Array.from({ length: 20 }, (_, i) => at(leader)
    .call("POST", "/channels", { json: { name: `late${i}` } }).catch(() => ({ status: 0 })));
  await server.run("thaw", leader);
  const answers = await Promise.all(late);
  const made = answers.filter((a) => a.status === 201).length;
  // What was made, was made by the one that leads: as the other's rows say, and nobody else's.
  assert.equal(await rows(), String(made));
  await listener.closed;
  await roles();
  assert.match(server.log(leader), /coordinator_follows/);
  assert.equal(await leaderAt(origins[leader]), other);
  await strike("freeze");
  await server.run("thaw", other);
  assert.deepEqual(await roles(), [leader, other]);
  assert.equal(server.log(leader).match(/ coordinator_leads /g).length, 2);
});

test("one that is killed is replaced, and comes back as one that follows", async () => {
  const [leader, other] = await strike("kill");
  await server.run("exit", leader);
  await server.run("start", leader);
  await until(async () => (await leaderAt(origins[leader])) === other, "an answer through it");
});

test("an epoch is never used twice, whatever the lease's row has lost", async () => {
  // It is never below the clock's milliseconds.
  const epoch = () => server.sql("select epoch from lease").then(Number);
  const before = await epoch();
  const now = Date.now();
  assert.ok(before > now - 600000 && before <= now + 1000, String(before));
  await server.sql("delete from lease");
  assert.ok((await until(async () => (await epoch()) || 0, "a lease")) > before);
  // Who led may think so for a second more.
  const holder = () => server.sql("select split_part(holder, '/', 1) from lease");
  await until(async () => (await roles())[0] === (await holder()), "the one that holds the lease to lead");
});

test("without a database the one that follows still tells the state", async () => {
  const [leader, follower] = await roles();
  await server.database("freeze");
  const status = await until(async () => {
    const s = await statusAt(origins[follower]);
    return s?.database === "down" && s;
  }, "the state");
  assert.equal(leaderIn(status), leader);
  const refused = await at(follower).call("POST", "/channels", { json: { name: "never" } });
  assert.equal(refused.status, 503);
  await server.database("thaw");
  await until(async () => (await at(follower).call("POST", "/channels", { json: { name: "again" } })).status === 201,
    "the database");
  for (const name of [follower, leader]) {
    await server.run("term", name);
    assert.equal(await server.run("exit", name), 0);
  }
});
