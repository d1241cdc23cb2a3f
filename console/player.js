// Plays an endless fragmented MP4 (an edge's preview) near its live end, and reconnects by itself.

const JUMP_BEHIND = 1.5; // seconds behind the live end from which the player jumps
const CHASE_BEHIND = 0.8; // and from which it plays a little faster
const TARGET_BEHIND = 0.4;
const KEEP_BEHIND = 10; // seconds kept for the browser's own needs
const QUEUE_LIMIT = 16 * 1024 * 1024; // bytes waiting for the browser
const STALLED_MS = 5000; // no data for so long: connect anew

// The codecs that the stream's first bytes name: H.264's profile and level stand in its avcC box.
export function codecsOf(init) {
  for (let i = 0; i + 8 < init.length; i++) {
    if (init[i] === 0x61 && init[i + 1] === 0x76 && init[i + 2] === 0x63 && init[i + 3] === 0x43) {
      const hex = [...init.slice(i + 5, i + 8)].map((b) => b.toString(16).padStart(2, "0"));
      return `avc1.${hex.join("")}, mp4a.40.2`;
    }
  }
  return null;
}

// Bytes of all complete top-level boxes up to and including moov, or null while it is incomplete.
function initLength(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at + 8 <= bytes.length) {
    const size = view.getUint32(at);
    const type = String.fromCharCode(...bytes.slice(at + 4, at + 8));
    if (size < 8 || at + size > bytes.length) return null;
    at += size;
    if (type === "moov") return at;
  }
  return null;
}

function join(a, b) {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}

export class Player {
  // onState(text): "connecting", "playing" or what went wrong.
  constructor(video, onState) {
    this.video = video;
    this.onState = onState;
    this.url = "";
    this.wait = 500;
    this.session = null;
    this.timer = setInterval(() => this.#chase(), 250);
  }

  // Plays `url`; the same again changes nothing, "" stops.
  play(url) {
    if (url === this.url) return;
    this.url = url;
    this.#end();
    if (url) this.#begin();
  }

  #end() {
    clearTimeout(this.retry);
    this.session?.abort.abort();
    this.session = null;
    this.video.removeAttribute("src");
    this.video.load();
  }

  #again(why) {
    this.#end();
    if (!this.url) return;
    this.onState(why);
    this.retry = setTimeout(() => this.#begin(), this.wait * (0.5 + Math.random()));
    this.wait = Math.min(this.wait * 2, 10000);
  }

  async #begin() {
    const session = { abort: new AbortController(), queue: [], queued: 0, buffer: null };
    this.session = session;
    this.onState("connecting");
    const media = new MediaSource();
    this.video.src = URL.createObjectURL(media);
    try {
      await new Promise((done) => media.addEventListener("sourceopen", done, { once: true }));
      const response = await fetch(this.url, { signal: session.abort.signal, cache: "no-store" });
      if (!response.ok) throw new Error(`the edge answers ${response.status}`);
      await this.#pump(session, media, response.body.getReader());
      throw new Error("the stream ended");
    } catch (error) {
      if (this.session === session) this.#again(String(error.message ?? error));
    }
  }

  async #pump(session, media, reader) {
    let head = new Uint8Array(0);
    for (;;) {
      const stalled = setTimeout(() => reader.cancel("stalled"), STALLED_MS);
      const { value, done } = await reader.read();
      clearTimeout(stalled);
      if (done || this.session !== session) return;
      if (session.buffer) {
        this.#append(session, value);
        continue;
      }
      head = join(head, value);
      if (initLength(head) === null) continue;
      const codecs = codecsOf(head);
      const type = `video/mp4; codecs="${codecs}"`;
      if (!codecs || !MediaSource.isTypeSupported(type)) throw new Error(`this browser cannot play ${type}`);
      session.buffer = media.addSourceBuffer(type);
      session.buffer.addEventListener("updateend", () => this.#flush(session));
      this.#append(session, head);
      this.#start();
    }
  }

  #append(session, bytes) {
    session.queue.push(bytes);
    session.queued += bytes.length;
    if (session.queued > QUEUE_LIMIT) throw new Error("the browser does not keep up");
    this.#flush(session);
  }

  // One append at a time; what lies far behind is given back first.
  #flush(session) {
    const buffer = session.buffer;
    if (!buffer || buffer.updating || this.session !== session) return;
    const behind = this.video.currentTime - KEEP_BEHIND;
    if (buffer.buffered.length && buffer.buffered.start(0) < behind - KEEP_BEHIND) {
      buffer.remove(0, behind);
      return;
    }
    const bytes = session.queue.shift();
    if (!bytes) return;
    session.queued -= bytes.length;
    buffer.appendBuffer(bytes);
  }

  async #start() {
    try {
      await this.video.play();
    } catch {
      this.video.muted = true; // without a gesture only silent pictures may start
      await this.video.play().catch(() => {});
    }
  }

  // Keeps close to the live end.
  #chase() {
    const video = this.video;
    const ranges = video.buffered;
    if (!this.session || !ranges.length) return;
    const end = ranges.end(ranges.length - 1);
    const start = ranges.start(ranges.length - 1);
    const behind = end - video.currentTime;
    if (video.currentTime < start || behind > JUMP_BEHIND) {
      video.currentTime = Math.max(start, end - TARGET_BEHIND);
    } else {
      video.playbackRate = behind > CHASE_BEHIND ? 1.05 : behind < 0.1 ? 0.97 : 1;
    }
    if (!video.paused && video.currentTime > start) {
      this.wait = 500;
      this.onState("playing");
    }
  }
}
