// The page: one video, one current frame, and everything that is drawn for it.

import { drawPad, loadPad } from "./pad.js";
import { ask, askJson, openLabels, openPictures } from "./store.js";
import {
  clamp, drawOverview, drawTimeline, frameAtOverview, frameAtTimeline, readColours, windowOf,
} from "./timeline.js";

const OFF_CENTRE = 0.05; // of full tilt; below it a stick counts as centred, as when templates are drawn
const AHEAD = [0, 16, 32, 48, 64, 80]; // frames that are fetched before they are due

const get = (id) => document.getElementById(id);
const ui = Object.fromEntries(
  ["video", "about", "help", "problem", "frame", "overlay", "overlay-figure", "pad", "play", "position", "speed",
    "readout", "said", "overview", "zoom", "timeline", "mark", "cancel", "note", "marks", "doubts", "below", "chunks",
    "keys"].map((id) => [id, get(id)]),
);

let videos = [];
let colours = readColours();
let view = null; // of the video that is open
let asked = 0; // videos that were asked for; only the last one counts
let due = false; // a drawing is due at the next animation frame

async function start() {
  videos = await askJson("api/videos");
  for (const video of videos) {
    const option = new Option(`${video.title} (${describeInList(video)})`, video.id);
    option.disabled = Boolean(video.problem);
    ui.video.add(option);
  }
  const named = decodeURIComponent(location.hash.slice(1));
  const first = videos.find((video) => video.id === named) || videos.find((video) => video.kept) || videos[0];
  if (first.problem) return fail(new Error(first.problem));
  ui.video.value = first.id;
  await open(first.id);
}

const describeInList = (video) =>
  video.problem ? "cannot be read"
  : video.family ? `${video.family}, ${clock(video.seconds || 0)}, ${video.kept} of ${video.chunks} chunks kept`
  : "no overlay";

async function open(id) {
  close();
  document.body.dataset.state = "loading";
  const turn = ++asked;
  const video = await askJson(`api/videos/${id}`);
  if (turn !== asked) return;
  const opened = {
    video,
    frames: video.frames,
    frame: video.first,
    seconds: Number(ui.zoom.value),
    playing: false,
    clock: 0, // s, time in the video while it plays
    markFrom: null,
    chunks: [],
    marks: [],
    doubts: [],
    overview: null,
    pads: new Map(), // by placement
    labels: openLabels(video),
    pictures: openPictures(video, "frames"),
    overlays: video.has_source ? openPictures(video, "overlays") : null,
  };
  view = opened;
  history.replaceState(null, "", `#${encodeURIComponent(id)}`);
  ui.about.textContent = about(video);
  ui["overlay-figure"].hidden = !video.has_source;
  ui.position.max = Math.max(video.frames - 1, 0);
  for (const control of [ui.play, ui.position, ui.mark]) control.disabled = !video.frames;
  showLists();
  if (!video.frames) {
    ui.readout.textContent = `No overlay was found in this video (${video.reason}), so nothing was read.`;
    document.body.dataset.state = "ready";
    return draw();
  }
  for (const blocks of [opened.labels, opened.pictures, opened.overlays]) {
    if (!blocks) continue;
    blocks.onload = redraw;
    blocks.onerror = fail;
  }
  wantPad(opened, 0); // most likely that of the first frame
  moveTo(video.first);
  opened.pictures.onload = () => {
    redraw();
    if (opened.pictures.has(video.first)) loadRest(opened);
  };
}

// What the first frame does not need.
async function loadRest(opened) {
  opened.pictures.onload = redraw;
  const path = `api/videos/${opened.video.id}`;
  try {
    const [spans, overview] = await Promise.all([askJson(`${path}/spans`), askJson(`${path}/overview`)]);
    Object.assign(opened, spans, { overview });
    await loadDoubts(opened);
  } catch (error) {
    if (view === opened) fail(error);
  }
}

async function loadDoubts(opened) {
  const below = clamp(Number(ui.below.value), 0, 1);
  opened.doubts = await askJson(`api/videos/${opened.video.id}/doubts?below=${below}`);
  if (view !== opened) return;
  showLists();
  redraw();
}

function close() {
  ui.problem.hidden = true;
  if (!view) return;
  pause();
  for (const blocks of [view.labels, view.pictures, view.overlays]) blocks?.close();
  view = null;
}

function fail(error) {
  ui.problem.textContent = error.message;
  ui.problem.hidden = false;
  if (view?.playing) pause();
}

// Moving ---------------------------------------------------------------------------------------------------------

function moveTo(frame) {
  if (!view?.frames) return;
  view.frame = clamp(Math.round(frame), 0, view.frames - 1);
  view.clock = view.labels.get(view.frame)?.time ?? view.clock;
  ui.position.value = view.frame;
  wantAround();
  redraw();
}

function wantAround() {
  const { frame, labels, pictures, overlays } = view;
  const [from, to] = windowOf(view);
  const shown = [];
  for (let each = Math.max(from, 0); each < to; each += labels.size) shown.push(each);
  labels.want([frame, ...shown, to - 1, to + labels.size]);
  const soon = view.playing ? AHEAD.map((frames) => frame + frames) : [frame, frame + 1, frame - 1];
  pictures.want(soon);
  overlays?.want(soon);
}

function play() {
  if (!view?.frames || view.playing) return;
  if (view.frame === view.frames - 1) moveTo(0);
  view.playing = true;
  view.clock = view.labels.get(view.frame)?.time ?? 0;
  ui.play.textContent = "Pause";
  wantAround();
  let last = null;
  const tick = (now) => {
    if (!view?.playing) return;
    if (last !== null) advance(((now - last) / 1000) * Number(ui.speed.value));
    last = now;
    if (view?.playing) requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}

// Goes on by some seconds; waits where a frame is not here yet.
function advance(seconds) {
  const before = view.frame;
  view.clock += Math.min(seconds, 0.25); // a hidden tab stands still
  while (view.frame + 1 < view.frames) {
    const next = view.labels.get(view.frame + 1);
    const here = next && view.pictures.has(view.frame + 1) && (!view.overlays || view.overlays.has(view.frame + 1));
    if (!here) {
      view.clock = view.labels.get(view.frame)?.time ?? view.clock;
      break;
    }
    if (next.time > view.clock) break;
    view.frame += 1;
  }
  ui.position.value = view.frame;
  wantAround();
  if (view.frame !== before) draw();
  if (view.frame === view.frames - 1) pause();
}

function pause() {
  view.playing = false;
  ui.play.textContent = "Play";
  say(describe());
}

const toggle = () => (view?.playing ? pause() : play());

function jump(frame, what) {
  if (!view?.frames) return;
  if (view.playing) pause();
  moveTo(frame);
  say(what);
}

// step: 1 for the next of some spans, -1 for the one before.
function jumpAmong(spans, step, what) {
  const starts = spans.map((span) => span.start_frame);
  const found = step > 0 ? starts.find((each) => each > view.frame) : starts.filter((each) => each < view.frame).pop();
  if (found === undefined) say(`no ${what} ${step > 0 ? "after" : "before"} this frame`);
  else jump(found, `${what} at ${clock(timeOf(spans.find((span) => span.start_frame === found)))}`);
}

// Drawing --------------------------------------------------------------------------------------------------------

function redraw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    draw();
  });
}

function draw() {
  if (!view) return;
  const row = view.labels.get(view.frame);
  drawPicture(ui.frame, view.pictures, 256, 256, () => {
    const chunk = chunkAt(view.frame);
    return chunk && !chunk.kept ? `dropped: ${chunk.reason}` : "no picture was kept";
  });
  if (view.overlays) drawPicture(ui.overlay, view.overlays, 480, 360, () => "no overlay here");
  const padIsHere = drawThePad(row);
  drawOverview(ui.overview, colours, view);
  drawTimeline(ui.timeline, colours, view, view.labels);
  if (!view.frames) return;
  ui.readout.textContent = describe();
  for (const button of document.querySelectorAll("#chunks button, #doubts button, #marks button.jump")) {
    const here = Number(button.dataset.start) <= view.frame && view.frame < Number(button.dataset.end);
    if (here) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  ui.position.setAttribute("aria-valuetext", row ? `frame ${view.frame}, ${clock(row.time)}` : `frame ${view.frame}`);
  document.body.dataset.frame = view.frame;
  if (row && view.pictures.has(view.frame) && padIsHere) document.body.dataset.state = "ready";
}

// While a picture is not here, the one before stays.
function drawPicture(canvas, pictures, width, height, why) {
  const picture = view.frames ? pictures.get(view.frame) : null;
  if (picture === undefined) return;
  const context = canvas.getContext("2d");
  canvas.width = picture?.width ?? width;
  canvas.height = picture?.height ?? height;
  if (picture) return context.drawImage(picture, 0, 0);
  context.fillStyle = colours.soft;
  context.font = `${Math.round(canvas.width / 17)}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.fillText(view.frames ? why() : "nothing was read", canvas.width / 2, canvas.height / 2);
}

// Whether the pad of this frame is drawn; it is fetched when it is first needed.
function drawThePad(row) {
  const place = row ? placeAt(row) : -1;
  if (place < 0) {
    if (row || !view.frames) ui.pad.getContext("2d").clearRect(0, 0, ui.pad.width, ui.pad.height);
    return Boolean(row);
  }
  wantPad(view, place);
  const pad = view.pads.get(place);
  if (!pad) return false;
  const axes = { j_left: row.sticks.slice(0, 2), j_right: row.sticks.slice(2) };
  const axesOf = (stick) => axes[stick].map((value) => value ?? 0);
  const isHeld = (control) =>
    control in axes ? Math.hypot(...axesOf(control)) > OFF_CENTRE : Boolean(row.held & (1 << view.video.buttons.indexOf(control)));
  drawPad(ui.pad, pad, isHeld, axesOf);
  return true;
}

function wantPad(opened, place) {
  if (opened.pads.has(place)) return;
  opened.pads.set(place, null);
  askJson(`api/videos/${opened.video.id}/pad/${place}`).then(loadPad).then((pad) => {
    opened.pads.set(place, pad);
    redraw();
  }).catch(fail);
}

// The placement that covers a frame, else -1.
const placeAt = (row) =>
  row.known ? view.video.placements.findIndex((place) => place.start <= row.time && row.time <= place.end) : -1;

const chunkAt = (frame) => view.chunks.find((chunk) => chunk.start_frame <= frame && frame < chunk.end_frame);

function describe() {
  const row = view?.labels.get(view.frame);
  if (!row) return `frame ${view?.frame}`;
  const parts = [`frame ${view.frame}`, clock(row.time)];
  if (!row.known) return [...parts, "no overlay here"].join(" · ");
  parts.push(`confidence ${row.confidence.toFixed(2)}`);
  const held = view.video.buttons.filter((_, bit) => row.held & (1 << bit));
  parts.push(held.length ? `held: ${held.join(", ")}` : "nothing held");
  ["j_left", "j_right"].forEach((stick, i) => {
    const [x, y] = row.sticks.slice(2 * i, 2 * i + 2);
    if (x !== null) parts.push(`${stick} ${signed(x)}, ${signed(y)}`);
  });
  return parts.join(" · ");
}

const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);

function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  const rest = (seconds - 60 * minutes).toFixed(1).padStart(4, "0");
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

function about(video) {
  const hidden = video.controls.filter((name) => !video.shown.includes(name));
  const parts = [...new Set(video.placements.map((place) => place.template))];
  if (video.game) parts.push(video.game);
  if (video.frames && hidden.length) parts.push(`not shown by the overlay: ${hidden.join(", ")}`);
  return parts.join(" · ");
}

// Lists and marks ------------------------------------------------------------------------------------------------

const timeOf = (span) => span.start_s ?? view.labels.get(span.start_frame)?.time ?? span.start_frame / view.video.fps;

function showLists() {
  list(ui.chunks, view.chunks, "none", (chunk) => {
    const verdict = chunk.kept ? "kept" : `dropped: ${chunk.reason}`;
    const item = jumpItem(chunk, `${clock(chunk.start_s)} ${verdict}, ${Math.round(100 * chunk.active)}% active`);
    item.className = chunk.kept ? "kept" : "dropped";
    if (chunk.detail) item.firstChild.title = chunk.detail;
    return item;
  });
  list(ui.doubts, view.doubts, "none", (doubt) => {
    const count = doubt.end_frame - doubt.start_frame;
    const frames = count === 1 ? "1 frame" : `${count} frames`;
    return jumpItem(doubt, `${clock(doubt.start_s)} ${frames}, down to ${doubt.confidence.toFixed(2)}`);
  });
  list(ui.marks, view.marks, "nothing is marked", (mark) => {
    const item = jumpItem(mark, `frames ${mark.start_frame} to ${mark.end_frame - 1}${mark.note ? `: ${mark.note}` : ""}`);
    item.firstChild.classList.add("jump");
    const remove = document.createElement("button");
    remove.type = "button";
    remove.textContent = "Remove";
    remove.setAttribute("aria-label", `Remove the mark on frames ${mark.start_frame} to ${mark.end_frame - 1}`);
    remove.onclick = () => removeMark(mark);
    item.append(remove);
    return item;
  });
}

function list(parent, spans, none, makeItem) {
  const empty = document.createElement("li");
  empty.textContent = none;
  parent.replaceChildren(...(spans.length ? spans.map(makeItem) : [empty]));
}

function jumpItem(span, text) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.dataset.start = span.start_frame;
  button.dataset.end = span.end_frame;
  button.onclick = () => jump(span.start_frame, text);
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function toggleMark() {
  if (!view?.frames) return;
  if (view.markFrom === null) {
    setMarkFrom(view.frame);
    say(`marking from frame ${view.frame}`);
    return;
  }
  const [first, last] = [view.markFrom, view.frame].sort((a, b) => a - b);
  setMarkFrom(null);
  changeMarks(first, last + 1, {
    method: "PUT",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ note: ui.note.value.trim() }),
  }, `marked frames ${first} to ${last} as wrong`);
}

function setMarkFrom(frame) {
  view.markFrom = frame;
  ui.mark.textContent = frame === null ? "Mark from here (M)" : `Mark ${frame} up to here (M)`;
  ui.cancel.hidden = frame === null;
  redraw();
}

const removeMark = (mark) =>
  changeMarks(mark.start_frame, mark.end_frame, { method: "DELETE" },
    `removed the mark on frames ${mark.start_frame} to ${mark.end_frame - 1}`);

async function changeMarks(start, stop, request, done) {
  const opened = view;
  try {
    opened.marks = await (await ask(`api/videos/${opened.video.id}/marks/${start}-${stop}`, request)).json();
  } catch (error) {
    return fail(error);
  }
  if (view !== opened) return;
  const inList = ui.marks.contains(document.activeElement);
  showLists();
  if (inList) ui.marks.focus();
  if (request.method === "PUT") ui.note.value = "";
  say(done);
  redraw();
}

function removeMarkHere() {
  const mark = view.marks.find((each) => each.start_frame <= view.frame && view.frame < each.end_frame);
  if (mark) removeMark(mark);
  else say("no mark at this frame");
}

function cancelMark() {
  if (!view || view.markFrom === null) return;
  setMarkFrom(null);
  say("marking cancelled");
}

function say(text) {
  ui.said.textContent = text;
}

// Keyboard and mouse ---------------------------------------------------------------------------------------------

const second = () => Math.max(1, Math.round(view.video.fps));

const KEYS = {
  " ": toggle,
  ArrowLeft: (event) => jump(view.frame - (event.shiftKey ? second() : 1), ""),
  ArrowRight: (event) => jump(view.frame + (event.shiftKey ? second() : 1), ""),
  PageUp: () => jumpAmong(view.chunks, -1, "chunk"),
  PageDown: () => jumpAmong(view.chunks, 1, "chunk"),
  Home: () => jump(0, "first frame"),
  End: () => jump(view.frames - 1, "last frame"),
  p: () => jumpAmong(view.doubts, -1, "doubt"),
  n: () => jumpAmong(view.doubts, 1, "doubt"),
  m: toggleMark,
  x: removeMarkHere,
  Escape: cancelMark,
  "[": () => openNeighbour(-1),
  "]": () => openNeighbour(1),
  "?": () => ui.keys.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (!view || event.ctrlKey || event.altKey || event.metaKey || ui.keys.open) return;
  const { target } = event;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  // What a control makes of a key is its own: text, choices, pressing a button. The slider's arrows are ours.
  if (target.matches("input:not([type=range]), select") && key !== "Escape") return;
  if (target.matches("button") && key === " ") return;
  if (!(key in KEYS)) return;
  event.preventDefault();
  KEYS[key](event);
});

function openNeighbour(step) {
  const readable = videos.filter((video) => !video.problem);
  const next = readable[readable.findIndex((video) => video.id === view.video.id) + step];
  if (!next) return say(`no video ${step > 0 ? "after" : "before"} this one`);
  ui.video.value = next.id;
  open(next.id).catch(fail);
}

ui.video.onchange = () => open(ui.video.value).catch(fail);
ui.help.onclick = () => ui.keys.showModal();
ui.play.onclick = toggle;
ui.position.oninput = () => {
  if (view.playing) pause();
  moveTo(Number(ui.position.value));
};
ui.mark.onclick = toggleMark;
ui.cancel.onclick = cancelMark;
ui.zoom.onchange = () => {
  if (!view) return;
  view.seconds = Number(ui.zoom.value);
  moveTo(view.frame);
};
ui.below.onchange = () => view && loadDoubts(view).catch(fail);

for (const [canvas, frameAt] of [
  [ui.overview, (event) => frameAtOverview(ui.overview, event.clientX, view.frames)],
  [ui.timeline, (event) => frameAtTimeline(ui.timeline, event.clientX, view)],
]) {
  canvas.onpointerdown = (event) => {
    if (!view?.frames) return;
    if (canvas === ui.overview) canvas.setPointerCapture(event.pointerId);
    jump(frameAt(event), "");
  };
  if (canvas === ui.overview) {
    canvas.onpointermove = (event) => event.buttons === 1 && view?.frames && moveTo(frameAt(event));
  }
}

window.addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  colours = readColours();
  redraw();
});

start().catch(fail);
