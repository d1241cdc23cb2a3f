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
  static async start() {
    const server = new Server();
    await server.#start();
    return server;
  }

  async #start() {
    const [http, control] = await freePorts(2);
    this.port = http;
    this.origin = `http://127.0.0.1:${http}`;
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
      },
    });
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
    this.pid = Number((await this.#expect("ready")).split(" ")[1]);
  }

  async #expect(word) {
    for (;;) {
      const { value, done } = await this.lines.next();
      if (done) throw new Error(`the server ended instead of saying "${word}":\n${this.logs()}`);
      if (value.startsWith(word)) return value;
    }
  }

  async database(state) {
    this.child.stdin.write(`database ${state}\n`);
    await this.#expect("done");
  }

  // Everything that the programs have logged.
  logs() {
    const folder = join(this.folder, "log");
    return readdirSync(folder)
      .map((name) => readFileSync(join(folder, name), "latin1"))
      .join("\n");
  }

  // The most memory that the coordinator has held, in bytes.
  peakMemory() {
    const status = readFileSync(`/proc/${this.pid}/status`, "latin1");
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)[1]) * 1024;
  }

  // Ends both programs; gives the coordinator's exit status.
  async stop() {
    const ended = new Promise((done) => this.child.once("exit", done));
    this.child.stdin.end();
    const line = await this.#expect("exit");
    await ended;
    const status = Number(line.split(" ")[1]);
    if (status === 0) rmSync(this.folder, { recursive: true, force: true });
    return status;
  }
}
