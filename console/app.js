// The first page: what is on air, from where, at what cost.
import { Live } from "./live.js";
import { Player } from "./player.js";

const STALE_SECONDS = 3;

const $ = (id) => document.getElementById(id);

function element(name, className, ...children) {
  const e = document.createElement(name);
  if (className) e.className = className;
  e.append(...children);
  return e;
}

const number = new Intl.NumberFormat("en");
const megabytes = (bytes) => `${number.format(Math.round(bytes / 1048576))} MiB`;
const milliseconds = (ms) => `${ms.toFixed(1)} ms`;

const stateWords = {
  on_air: "on air",
  off_air: "off air",
  stopped: "stopped",
  waiting: "waiting",
  preparing: "preparing",
  armed: "armed",
};

function row(...cells) {
  const tr = element("tr");
  for (const cell of cells) {
    const td = element("td");
    td.append(cell instanceof Node ? cell : String(cell));
    tr.append(td);
  }
  return tr;
}

function badge(state) {
  return element("span", `badge ${state}`, stateWords[state] ?? state);
}

function showChannel(channel) {
  $("name").textContent = channel?.name ?? "no channel";
  $("state").replaceChildren(badge(channel?.state ?? "stopped"));
  $("text").textContent = channel?.text ?? "";
  $("format").textContent = channel ? `${channel.width} × ${channel.height}, ${channel.rate} frames/s` : "";
  $("timeline").textContent = channel?.timeline
    ? `${channel.timeline}, revision ${channel.revision?.number ?? "?"}`
    : "no timeline";
  const c = channel?.counters;
  $("counters").replaceChildren(
    ...(c
      ? [
          row("frames on air", number.format(c.frames)),
          row("next frame", number.format(c.cursor)),
          row("late", number.format(c.late)),
          row("concealed", number.format(c.concealed)),
          row("skipped", number.format(c.skipped)),
          row("buffered ahead", `${number.format(c.slack_frames)} frames`),
          row("mix, median / 99 %", `${milliseconds(c.mix_median_ms)} / ${milliseconds(c.mix_p99_ms)}`),
        ]
      : []),
  );
  $("destinations").replaceChildren(
    ...(channel?.destinations ?? []).map((d) =>
      row(d.name, d.output ? `${d.kind} of ${d.output}` : d.kind, badge(d.state), d.error || megabytes(d.bytes)),
    ),
  );
  $("groups").replaceChildren(
    ...(channel?.groups ?? []).map((g) =>
      row(`group ${g.group}`, `${g.width} × ${g.height}`, `tracks ${g.track_from} to ${g.track_to - 1}`, g.provider),
    ),
  );
}

// Commands go over the WebSocket; answers tell the frame, or what is wrong.
function take(channel, track, clip) {
  const kind = $("transition").value;
  const manual = $("by-hand").checked;
  const command = { type: "take", channel, track, clip };
  if (kind || manual)
    command.transition = { kind: kind || "dissolve", duration: Number($("transition-frames").value) || 1 };
  if (manual) command.manual = true;
  send(command);
}

function send(command) {
  if (!live.send(command)) $("taken").textContent = "no connection: nothing was sent";
}

function showAnswer(message) {
  $("taken").textContent =
    message.type === "taken" ? `from frame ${number.format(message.at_frame)} on` : message.detail;
}

// One row of buttons a live track, and a fader where a transition goes by hand; rebuilt only when there
// is something else to show, so that none vanishes under a finger.
let liveShown = "";

function fader(channel, t) {
  const slider = element("input");
  Object.assign(slider, { type: "range", min: 0, max: 1, step: 0.01, value: t.fader });
  slider.setAttribute("aria-label", `Fader of ${t.track}`);
  let sent = 0;
  slider.addEventListener("input", () => {
    // The end always goes out; between, thirty positions a second are enough.
    if (performance.now() - sent < 33 && slider.value < 1) return;
    sent = performance.now();
    send({ type: "take", channel: channel.name, track: t.track, fader: Number(slider.value) });
  });
  return slider;
}

function showLive(channel) {
  const tracks = channel?.state === "on_air" ? channel.live : [];
  $("live").hidden = tracks.length === 0;
  const state = JSON.stringify([channel?.name, tracks.map((t) => [t.track, t.clips, t.clip, t.fader === null])]);
  if (state === liveShown) return;
  liveShown = state;
  $("tracks").replaceChildren(
    ...tracks.map((t) => {
      const buttons = [null, ...t.clips].map((clip) => {
        const button = element("button", clip === t.clip ? "chosen" : "", clip ?? "nothing");
        button.addEventListener("click", () => take(channel.name, t.track, clip));
        return button;
      });
      const hand = t.fader === null ? [] : [fader(channel, t)];
      return element("div", "track", element("strong", "", t.track), ...buttons, ...hand);
    }),
  );
}

// What anybody has taken, before the next status says so.
function showTake({ channel, take }) {
  const track = newest?.channels.find((c) => c.name === channel)?.live.find((t) => t.track === take.track);
  if (!track) return;
  if ("fader" in take) {
    track.fader = take.fader < 1 ? take.fader : null;
  } else {
    track.clip = take.clip ?? null;
    track.fader = take.manual ? 0 : null;
  }
  if (channel === chosen) showLive(newest.channels.find((c) => c.name === channel));
}

function showNodes(nodes, channels) {
  const names = new Map(channels.map((c) => [c.id, c.name]));
  $("nodes").replaceChildren(
    ...nodes.map((n) =>
      row(n.name, n.role, badge(n.overload ? "overloaded" : n.state), `${n.cpu_load.toFixed(2)} of ${n.cores} cores`,
        megabytes(n.memory_bytes)),
    ),
  );
  const stages = nodes.flatMap((n) =>
    n.stages.map((s) =>
      row(n.name, names.get(s.channel) ?? s.channel, s.group ? `${s.kind} ${s.group}` : s.kind,
        milliseconds(s.median_ms), milliseconds(s.p99_ms)),
    ),
  );
  $("stages").replaceChildren(...stages);
  const alarms = nodes.flatMap((n) => n.alarms.map((a) => element("li", "", `${n.name}: ${a.text} (${a.count})`)));
  $("alarms").replaceChildren(...alarms);
  $("alarm-box").hidden = alarms.length === 0;
}

function refusalOf(status) {
  const { srt, rtmp } = status ?? {};
  return rtmp?.refusal ? `${rtmp.refused}: ${rtmp.refusal}` : srt?.refusal;
}

function showSources(sources) {
  $("source-box").hidden = sources.length === 0;
  $("sources").replaceChildren(
    ...sources.map(({ name, input, worker, home, status, error }) =>
      row(name, status?.state ?? "", input?.kind ?? "unreadable",
        input?.url ?? input?.address ?? input?.listen ?? status?.rtmp?.listen ?? "",
        home ? `at ${home}` : (worker ?? "any worker"), error || [status?.text, refusalOf(status)].filter(Boolean).join("; ")),
    ),
  );
}

let chosen = new URLSearchParams(location.search).get("channel");

function showChoice(channels) {
  $("choice").replaceChildren(
    ...channels.map((c) => {
      const button = element("button", c.name === chosen ? "chosen" : "", c.name);
      button.addEventListener("click", () => {
        chosen = c.name;
        history.replaceState(null, "", `?channel=${encodeURIComponent(c.name)}`);
        if (newest) show(newest);
      });
      return button;
    }),
  );
}

const player = new Player($("programme"), (text) => {
  $("player-state").textContent = text === "playing" ? "" : text;
  $("sound").hidden = !$("programme").muted;
});
$("sound").addEventListener("click", () => {
  $("programme").muted = false;
  $("sound").hidden = true;
});

let newest = null;

function show(status) {
  newest = status;
  const channel =
    status.channels.find((c) => c.name === chosen) ??
    status.channels.find((c) => c.state === "on_air") ??
    status.channels[0];
  chosen = channel?.name ?? chosen;
  showChoice(status.channels);
  showChannel(channel);
  showLive(channel);
  showNodes(status.nodes, status.channels);
  showSources(status.sources ?? []); // a leader of the version before has none
  $("database").hidden = status.database === "up";
  const onAir = channel?.state === "on_air";
  $("levels").hidden = !onAir;
  live.watch(onAir ? channel.name : "");
  // An edge that does not keep up gives the preview up first.
  const paused = onAir && status.nodes.some((n) => n.name === channel.edge && n.overload);
  player.play(onAir && !paused ? channel.preview_url : "");
  if (paused) $("player-state").textContent = "paused: the edge does not keep up";
}

const LEAST_DB = -60;
const decibels = (level) => (level === null ? "−∞" : level.toFixed(1).replace("-", "−"));

function showLevels({ channel, outputs }) {
  const programme = outputs.find((o) => o.output === "");
  if (channel !== chosen || !programme) return;
  $("left").value = programme.peak[0] ?? LEAST_DB;
  $("right").value = programme.peak[1] ?? LEAST_DB;
  const { momentary, short_term, integrated } = programme;
  $("loudness").textContent =
    `M ${decibels(momentary)}  S ${decibels(short_term)}  I ${decibels(integrated)} LUFS`;
}

const live = new Live(
  (message) => {
    if (message.type === "broadcast:status") show(message);
    if (message.type === "broadcast:meters") showLevels(message);
    if (message.type === "broadcast:take") showTake(message);
    if (message.type === "taken" || message.type === "refused") showAnswer(message);
  },
  () => showAge(),
);

function showAge() {
  const age = live.age();
  const fresh = age < STALE_SECONDS;
  $("connection").className = fresh ? "fresh" : "stale";
  $("connection").textContent = fresh
    ? "connected"
    : age === Infinity
      ? "connecting"
      : `stale for ${Math.round(age)} s`;
}
setInterval(showAge, 500);
