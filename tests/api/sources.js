// Sources over the API and by the command line; part of api.test.js.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

// `context` gives {server, client, accepted, refused, program, canary} once they are there.
export function sourceTests(context) {
  test("sources come, change and go, and never show their secrets", async () => {
    const { server, accepted, refused, canary } = context();
    const put = (name, input, more = {}) => accepted(200, "PUT", `/sources/${name}`, { json: { input, ...more } });
    assert.deepEqual(await accepted(200, "GET", "/sources"), []);
    const camera = await put("cam1", { kind: "srt-listen", listen: "0.0.0.0:9000", passphrase: canary }, { worker: "w1" });
    assert.deepEqual([camera.name, camera.worker], ["cam1", "w1"]);
    assert.deepEqual(camera.input, { kind: "srt-listen", listen: "0.0.0.0:9000", resource: "cam1", user: "",
      has_passphrase: true, key_bytes: 0, latency_ms: 200 });
    assert.deepEqual(await accepted(200, "GET", "/sources/cam1"), camera);
    const pulled = async (url) => (await put("server", { kind: "pull", url })).input.url;
    assert.equal(await pulled(`rtsp://anna:${canary}@camera:554/1`), "rtsp://camera:554/***");
    assert.equal(await pulled(`rtmp://host/live/${canary}`), "rtmp://host/***");
    assert.equal(await pulled(`https://host/index.m3u8?token=${canary}`), "https://host/***");
    assert.deepEqual((await put("call", { kind: "srt-call", address: "far:9", stream_id: canary })).input,
      { kind: "srt-call", address: "far:9", has_stream_id: true, has_passphrase: false, key_bytes: 0, latency_ms: 200 });
    assert.equal((await put("meet", { kind: "srt-rendezvous", address: "far:9", listen: ":9", latency_ms: 500 }))
      .input.latency_ms, 500);
    const names = async () => (await accepted(200, "GET", "/sources")).map((s) => s.name);
    assert.deepEqual(await names(), ["call", "cam1", "meet", "server"]);
    assert.deepEqual((await accepted(200, "GET", "/status")).sources, await accepted(200, "GET", "/sources"));
    // Saved anew it is what was sent and nothing else.
    const again = await put("cam1", { kind: "srt-listen", listen: ":9001" }, { worker: null });
    assert.deepEqual([again.worker, again.input.listen, again.input.has_passphrase], [null, ":9001", false]);
    assert.equal(again.created_at, camera.created_at);
    for (const name of ["call", "meet", "server"]) await accepted(204, "DELETE", `/sources/${name}`);
    await refused(404, "not_found", "call", "DELETE", "/sources/call");
    await refused(404, "not_found", "call", "GET", "/sources/call");
    assert.deepEqual(await names(), ["cam1"]);
    assert.equal(await server.sql(`select count(*) from sources where encode(sealed_input, 'escape') like '%listen%'`), "0");
  });

  test("an RTMP source tells its key once, and gets another each time", async () => {
    const { server, client, accepted, refused } = context();
    const keys = [];
    const put = async (more = {}) => {
      const { key, ...source } = await accepted(200, "PUT", "/sources/studio", { json: { input: { kind: "rtmp" }, ...more } });
      assert.match(key, /^[0-9a-f]{32}$/);
      keys.push(key);
      return source;
    };
    const source = await put({ worker: "w1" });
    assert.deepEqual([source.name, source.worker, source.input], ["studio", "w1", { kind: "rtmp" }]);
    assert.deepEqual(await accepted(200, "GET", "/sources/studio"), source);
    assert.equal((await put()).worker, null);
    assert.equal(new Set(keys).size, 2);
    // Of another kind it has none; a key is nothing to choose.
    const listen = await accepted(200, "PUT", "/sources/studio", { json: { input: { kind: "srt-listen", listen: ":9" } } });
    assert.ok(!("key" in listen));
    await put();
    await refused(422, null, "input.key", "PUT", "/sources/studio", { json: { input: { kind: "rtmp", key: keys[0] } } });
    await refused(422, null, "input.listen", "PUT", "/sources/studio", { json: { input: { kind: "rtmp", listen: ":1935" } } });

    const file = join(server.folder, "studio.key");
    const run = (...words) => {
      const done = spawnSync(program(), ["--server", server.origin, "source", ...words], { encoding: "utf8" });
      assert.equal(done.status, 0, done.stderr);
      return done.stdout;
    };
    const program = () => context().program;
    const shown = run("put", "studio", "--rtmp", "--worker", "w1");
    const match = shown.match(/^source studio saved\n {2}encoders send to rtmp:\/\/HOST:PORT\/live\n {2}key ([0-9a-f]{32})\n/);
    assert.ok(match, shown);
    keys.push(match[1]);
    writeFileSync(file, "something that is longer than any key may be, and is to be gone afterwards", { mode: 0o644 });
    const texts = [run("put", "studio", "--rtmp", "--key-file", file)];
    const kept = readFileSync(file, "utf8");
    assert.match(kept, /^[0-9a-f]{32}\n$/);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    keys.push(kept.trim());
    texts.push(run("put", "studio", "--rtmp", "--key-file", file, "--json"));
    keys.push(readFileSync(file, "utf8").trim());
    assert.equal(new Set(keys).size, 6);
    texts.push(run("show", "studio"), run("list"), run("show", "studio", "--json"));
    assert.match(texts[2], /encoders send to rtmp:\/\/HOST:PORT\/live\n/);
    const unwritable = spawnSync(program(), ["--server", server.origin, "source", "put", "studio", "--rtmp", "--key-file",
      join(server.folder, "none", "key")], { encoding: "utf8" });
    assert.equal(unwritable.status, 1);
    assert.match(unwritable.stderr, /cannot be written/);
    // But for the answers that made them nothing has them: no other answer, no log, no table.
    for (const path of ["/sources", "/sources/studio", "/status"]) texts.push(JSON.stringify(await accepted(200, "GET", path)));
    texts.push(server.logs(), await server.sql("select encode(sealed_input, 'escape') from sources"));
    for (const key of keys) for (const text of texts) assert.ok(!text.includes(key), `a key in ${text.slice(0, 200)}`);
    client.transcript.push(...texts);
    await accepted(204, "DELETE", "/sources/studio");
  });

  test("bad sources are refused with the member's name", async () => {
    const { accepted, refused, canary } = context();
    const listen = { kind: "srt-listen", listen: ":9000" };
    const bad = [
      ["input", {}], ["input", { input: null }], ["input", { input: [] }], ["input.kind", { input: {} }],
      ["input.kind", { input: { kind: "tape" } }], ["input.listen", { input: { kind: "srt-listen" } }],
      ["input.listen", { input: { ...listen, listen: canary } }],
      ["input.passphrase", { input: { ...listen, passphrase: "short" } }],
      ["input.passphrase", { input: { ...listen, passphrase: canary.repeat(4) } }],
      ["input.passphrase", { input: { ...listen, passphrase: [canary] } }],
      ["input.passphrase", { input: { ...listen, passphrase: `${canary}\n` } }],
      ["input.latency_ms", { input: { ...listen, latency_ms: 8001 } }],
      ["input.key_bytes", { input: { ...listen, key_bytes: 17 } }],
      ["input.stream_id", { input: { ...listen, stream_id: canary } }],
      ["input.url", { input: { kind: "pull", url: `file:///${canary}` } }],
      ["input.address", { input: { kind: "srt-call", address: `${canary}:x` } }],
      ["worker", { input: listen, worker: 7 }], ["worker", { input: listen, worker: "x".repeat(65) }],
      ["password", { input: listen, password: canary }],
    ];
    for (const [path, json] of bad) await refused(422, null, path, "PUT", "/sources/bad", { json });
    for (const name of ["-a", "a%20b", "%C3%A4", "x".repeat(65), "x".repeat(300)])
      await refused(422, "name", null, "PUT", `/sources/${name}`, { json: { input: listen } });
    assert.deepEqual((await accepted(200, "GET", "/sources")).map((s) => s.name), ["cam1"]);
  });

  test("a source that does not open hides no other, and can be saved again", async () => {
    const { server, accepted, canary } = context();
    const input = { kind: "srt-listen", listen: ":9002", passphrase: canary };
    await accepted(200, "PUT", "/sources/moved", { json: { input } });
    await server.sql("update sources set sealed_input = (select sealed_input from sources where name = 'cam1') where name = 'moved'");
    const inputs = (await accepted(200, "GET", "/sources")).map((s) => s.input?.kind);
    assert.deepEqual(inputs, ["srt-listen", undefined]);
    assert.equal((await accepted(200, "PUT", "/sources/moved", { json: { input } })).input.listen, ":9002");
    await accepted(204, "DELETE", "/sources/moved");
  });

  test("the command line saves, shows and removes sources, with secrets from files", () => {
    const { server, client, program, canary } = context();
    const run = (words, options = {}) => {
      const done = spawnSync(program, ["--server", server.origin, "source", ...words], { encoding: "utf8", ...options });
      client.transcript.push(done.stdout + done.stderr);
      return done;
    };
    const secret = join(server.folder, "secret"), address = join(server.folder, "address");
    writeFileSync(secret, `${canary}\n`);
    writeFileSync(address, `rtsp://anna:${canary}@camera/1\n`);
    const ok = (...args) => {
      const done = run(...args);
      assert.equal(done.status, 0, done.stderr);
      return done.stdout;
    };
    assert.equal(ok(["put", "desk", "--srt-listen", "0.0.0.0:9100", "--user", "anna", "--latency", "400", "--worker", "w1",
      "--passphrase-file", secret]), "source desk saved\n");
    assert.match(ok(["show", "desk"]), /srt:\/\/HOST:9100\?streamid=#!::r=desk,m=publish,u=anna&passphrase=\.\.\.\n/);
    ok(["put", "nvr", "--pull", "@-"], { input: readFileSync(address) });
    ok(["put", "far", "--srt-call", "far:9", "--stream-id", "#!::r=x,m=request", "--passphrase-stdin"], { input: canary });
    ok(["put", "meet", "--srt-rendezvous", "far:9", "--listen", ":9"]);
    const rows = ok(["list"]).trim().split("\n").map((line) => line.split(/ {2,}/));
    assert.deepEqual(rows, [
      ["SOURCE", "STATE", "INPUT", "LISTENS AT", "CALLS", "LATENCY", "PASSPHRASE", "WORKER", "TAKEN IN BY"],
      ["cam1", "-", "srt-listen", ":9001", "-", "200 ms", "no", "-", "-"],
      ["desk", "-", "srt-listen", "0.0.0.0:9100", "-", "400 ms", "yes", "w1", "-"],
      ["far", "-", "srt-call", "-", "far:9", "200 ms", "yes", "-", "-"],
      ["meet", "-", "srt-rendezvous", ":9", "far:9", "200 ms", "no", "-", "-"],
      ["nvr", "-", "pull", "-", "rtsp://camera/***", "-", "no", "-", "-"],
    ]);
    assert.equal(JSON.parse(ok(["show", "nvr", "--json"])).input.url, "rtsp://camera/***");
    assert.equal(run(["put", "desk", "--srt-listen", "nonsense"]).stderr,
      "vistter: input.listen: must be host:port, or [address]:port\n");
    for (const name of ["desk", "far", "meet", "nvr"]) assert.equal(ok(["remove", name]), `source ${name} removed\n`);
    assert.equal(run(["remove", "desk"]).status, 1);
  });
}
