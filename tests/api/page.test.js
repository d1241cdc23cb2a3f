// The first page in a real browser, served by a real coordinator.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { openBrowser } from "./browser.js";
import { Client } from "./client.js";
import { Server } from "./server.js";

let server, client, browser;
before(async () => {
  server = await Server.start();
  client = new Client(server);
  await client.call("POST", "/channels", { json: { name: "news", width: 640, height: 360, rate: "25" } });
  await client.call("POST", "/channels/news/destinations", { json: { name: "archive", kind: "recording" } });
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0);
});

const shows = (selector, pattern) =>
  browser.page.locator(selector).filter({ hasText: pattern }).waitFor({ timeout: 20000 });

test("the page is strict about what it loads", async () => {
  const reply = await fetch(`${server.origin}/`);
  const policy = reply.headers.get("content-security-policy");
  assert.match(policy, /default-src 'self'/);
  assert.doesNotMatch(policy, /unsafe/);
  const html = await reply.text();
  assert.doesNotMatch(html, /https?:|style=|onclick|<script(?![^>]* src=)|<style/);
});

test("the page loads, connects and shows the channel", async () => {
  await browser.page.goto(`${server.origin}/`);
  await shows("#connection", /connected/);
  await shows("#name", /news/);
  await shows("#state", /stopped/);
  await shows("#format", /640 × 360/);
  await shows("#destinations", /archive/);
  assert.deepEqual(browser.problems, []);
});

test("what changes shows without reloading", async () => {
  await client.call("POST", "/channels", { json: { name: "second" } });
  await shows("#choice", /second/);
  await client.call("PUT", "/sources/cam1", { json: { input: { kind: "pull", url: "rtsp://anna:word@camera/1" } } });
  await shows("#sources", /^cam1pullrtsp:\/\/camera\/\*\*\*any worker$/);
});

test("a silent coordinator is shown as stale, with the age, until it speaks again", async () => {
  process.kill(server.pid, "SIGSTOP");
  try {
    await shows("#connection", /stale for \d+ s/);
  } finally {
    process.kill(server.pid, "SIGCONT");
  }
  await shows("#connection", /connected/);
});

test("a lost database shows, and its return too", async () => {
  await server.database("down");
  await browser.page.waitForSelector("#database", { state: "visible", timeout: 20000 });
  await server.database("up");
  await browser.page.waitForSelector("#database", { state: "hidden", timeout: 20000 });
  await shows("#name", /news/);
  assert.deepEqual(browser.problems, []);
});
