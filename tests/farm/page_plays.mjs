// Prints "plays", "sounds", "levels" and "live" for what holds of the page at argv[3]. Modules come from argv[2].
import { createRequire } from "node:module";

const { chromium } = createRequire(`${process.argv[2]}/package.json`)("playwright-core");
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const page = await browser.newPage();
page.on("pageerror", (error) => console.log(`error: ${error}`));
await page.goto(process.argv[3]);
const state = () =>
  page.evaluate(() => {
    const v = document.querySelector("video");
    return {
      time: v.currentTime,
      behind: v.buffered.length ? v.buffered.end(v.buffered.length - 1) - v.currentTime : Infinity,
      width: v.videoWidth,
      frames: v.getVideoPlaybackQuality().totalVideoFrames,
      sound: v.webkitAudioDecodedByteCount,
      left: document.querySelector("#left").value,
      loudness: document.querySelector("#loudness").textContent,
    };
  });
// The page's policy forbids evaluating strings in it, so conditions are polled from here.
async function until(what, seconds, holds) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await page.waitForTimeout(200)) {
    const now = await state();
    if (holds(now)) return now;
  }
  throw new Error(`not within ${seconds} s: ${what}`);
}
await until("a picture", 30, (s) => s.width > 0);
await page.click("#sound", { timeout: 10000 });
const before = await state();
const after = await until("three seconds of programme", 20, (s) => s.time > before.time + 3);
console.log(JSON.stringify({ before, after }));
if (after.frames - before.frames > 45 && after.width === 640) console.log("plays");
if (after.sound > before.sound) console.log("sounds");
// One sine at -20 dBFS in both channels.
if (Math.abs(after.left + 20) < 0.5 && /S −2\d\.\d/.test(after.loudness)) console.log("levels");
if (after.behind < 2) console.log("live");
await browser.close();
