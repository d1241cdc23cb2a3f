// Starts tests/api/server.sh and talks to it.
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const top = fileURLToPath(new URL("../..", import.meta.url));

async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, () =>
      new Promise((done) => {
        const server = createServer().listen(0, "127.0.0.1", () => done(server));
      }),
    ),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

export class Server {
  // A coordinator that leads, with its database; or with { bare: true } neither of them.
  static async start({ bare = false } = {}) {
    const server = new Server();
    await server.#start();
    if (bare) return server;
    await server.database("up");
    server.pid = await server.run("start", "coordinator");
    await server.leads();
    return server;
  }

  async #start() {
    const [http, control, http2, control2] = await freePorts(4);
    this.port = http;
    this.origin = `http://127.0.0.1:${http}`;
    this.second = { port: http2, origin: `http://127.0.0.1:${http2}` };
    this.folder = mkdtempSync(join(tmpdir(), "vistter-api-"));
    chmodSync(this.folder, 0o755);
    this.child = spawn(join(top, "tests/api/server.sh"), {
      stdio: ["pipe", "pipe", "inherit"],
      env: {
        ...process.env,
        VISTTER_VAR: this.folder,
        VISTTER_BUILD: process.env.VISTTER_BUILD ?? join(top, "build/release"),
        VISTTER_HTTP: String(http),
        VISTTER_CONTROL: String(control),
        VISTTER_HTTP2: String(http2),
        VISTTER_CONTROL2: String(control2),
      },
    });
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
    await this.#expect("ready");
  }

  async #expect(word) {
    for (;;) {
      const { value, done } = await this.lines.next();
      if (done) throw new Error(`the server ended instead of saying "${word}":\n${this.logs()}`);
      if (value.startsWith(word)) return Number(value.split(" ")[1]);
    }
  }

  // A line of server.sh; gives the process id or exit status that it answers.
  async run(word, name) {
    this.child.stdin.write(`${word} ${name}\n`);
    return this.#expect(word === "exit" ? "exit" : "done");
  }

  database(state) {
    return this.run("database", state);
  }

  // What a query gives, a row a line.
  async sql(query) {
    await this.run("sql", query);
    return readFileSync(join(this.folder, "sql.out"), "utf8").trim();
  }

  // Waits until a coordinator leads.
  async leads(origin = this.origin, seconds = 60) {
    const deadline = Date.now() + seconds * 1000;
    for (;;) {
      const status = await fetch(`${origin}/api/v1/status`).then((r) => r.status, () => 0);
      if (status === 200) return;
      if (Date.now() > deadline) throw new Error(`${origin} does not lead:\n${this.logs()}`);
    }
  }

  // Everything that the programs have logged.
  logs() {
    const folder = join(this.folder, "log");
    return readdirSync(folder)
      .map((name) => readFileSync(join(folder, name), "latin1"))
      .join("\n");
  }

  log(name) {
    return readFileSync(join(this.folder, "log", `${name}.log`), "latin1");
  }

  // The most memory that the coordinator has held, in bytes.
  peakMemory() {
    const status = readFileSync(`/proc/${this.pid}/status`, "latin1");
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)[1]) * 1024;
  }

  // Ends all programs; gives the coordinator's exit status.
  async stop() {
    let status = 0;
    if (this.pid) {
      await this.run("term", "coordinator");
      status = await this.run("exit", "coordinator");
    }
    const ended = new Promise((done) => this.child.once("exit", done));
    this.child.stdin.end();
    await ended;
    if (status === 0) rmSync(this.folder, { recursive: true, force: true });
    return status;
  }
}
