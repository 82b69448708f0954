// Two canvases: the whole video in a strip, and what was read around the current frame.

const NAMES = 104; // px for the names of the lanes
const STICK_LANE = 56;
const BUTTON_LANE = 13;
const CONFIDENCE_LANE = 34;

function prepare(canvas, height) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  if (height && canvas.style.height !== `${height}px`) canvas.style.height = `${height}px`;
  const high = height || canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(high * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(high * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, high);
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  return { context, width, height: high };
}

export function readColours() {
  const probe = document.createElement("span");
  document.body.append(probe);
  const colours = {};
  for (const name of ["ink", "soft", "rule", "x", "y", "held", "doubt", "mark", "kept", "dropped", "panel"]) {
    probe.style.color = `var(--${name})`;
    colours[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return colours;
}

export const frameAtOverview = (canvas, clientX, frames) => {
  const box = canvas.getBoundingClientRect();
  return clamp(Math.floor(((clientX - box.left) / box.width) * frames), 0, frames - 1);
};

export function drawOverview(canvas, colours, view) {
  const { context, width, height } = prepare(canvas);
  const at = (frame) => (frame / view.frames) * width;
  const bar = (span, top, high, colour) => {
    context.fillStyle = colour;
    context.fillRect(at(span.start_frame), top, Math.max(at(span.end_frame) - at(span.start_frame), 1.5), high);
  };
  const bottom = height - 26;
  for (const chunk of view.chunks) {
    if (!chunk.kept) hatch(context, at(chunk.start_frame), 0, at(chunk.end_frame) - at(chunk.start_frame), bottom, colours.dropped);
    bar(chunk, bottom + 2, 5, chunk.kept ? colours.kept : colours.dropped);
  }
  const { start = [], active = [] } = view.overview || {};
  context.fillStyle = colours.soft;
  for (let i = 0; i < start.length; i++) {
    const left = Math.round(at(start[i]));
    const right = Math.round(at(start[i + 1] ?? view.frames));
    context.fillRect(left, bottom - active[i] * (bottom - 4), Math.max(right - left, 1), active[i] * (bottom - 4));
  }
  for (const doubt of view.doubts) bar(doubt, bottom + 9, 6, colours.doubt);
  for (const mark of view.marks) bar(mark, bottom + 17, 7, colours.mark);
  context.fillStyle = colours.ink;
  context.fillRect(at(view.frame) - 1, 0, 2, height);
}

export const timelineHeight = (video) =>
  video.shown.filter((name) => name.startsWith("j_")).length * STICK_LANE +
  video.shown.filter((name) => !name.startsWith("j_")).length * BUTTON_LANE + CONFIDENCE_LANE + 18;

// The frames that the timeline shows.
export const windowOf = (view) => {
  const half = Math.max(1, Math.round((view.seconds * view.video.fps) / 2));
  return [view.frame - half, view.frame + half + 1];
};

export const frameAtTimeline = (canvas, clientX, view) => {
  const box = canvas.getBoundingClientRect();
  const [from, to] = windowOf(view);
  return clamp(Math.floor(from + ((clientX - box.left - NAMES) / (box.width - NAMES)) * (to - from)), 0, view.frames - 1);
};

export function drawTimeline(canvas, colours, view, labels) {
  const { video } = view;
  const { context, width, height } = prepare(canvas, timelineHeight(video));
  const [from, to] = windowOf(view);
  const step = (width - NAMES) / (to - from);
  const at = (frame) => NAMES + (frame - from) * step;
  const rows = [];
  for (let frame = Math.max(from, 0); frame < Math.min(to, view.frames); frame++) rows.push([frame, labels.get(frame)]);

  context.save();
  context.beginPath();
  context.rect(NAMES, 0, width - NAMES, height);
  context.clip();
  const span = (each, colour, alpha) => {
    context.globalAlpha = alpha;
    context.fillStyle = colour;
    context.fillRect(at(each.start_frame), 0, (each.end_frame - each.start_frame) * step, height - 18);
    context.globalAlpha = 1;
  };
  for (const chunk of view.chunks) {
    if (chunk.end_frame < from || chunk.start_frame > to) continue;
    if (!chunk.kept) hatch(context, at(chunk.start_frame), 0, (chunk.end_frame - chunk.start_frame) * step, height - 18, colours.dropped);
    context.fillStyle = colours.rule;
    context.fillRect(at(chunk.start_frame), 0, 1, height - 18);
    const left = Math.max(at(chunk.start_frame), NAMES);
    if (at(chunk.end_frame) - left > 40) {
      context.fillStyle = colours.soft;
      context.fillText(chunk.kept ? "kept" : `dropped: ${chunk.reason}`, left + 4, height - 9);
    }
  }
  view.doubts.forEach((each) => span(each, colours.doubt, 0.25));
  view.marks.forEach((each) => span(each, colours.mark, 0.3));
  if (view.markFrom !== null) {
    const ends = [view.markFrom, view.frame].sort((a, b) => a - b);
    span({ start_frame: ends[0], end_frame: ends[1] + 1 }, colours.mark, 0.3);
  }

  let top = 0;
  const lanes = [];
  for (const stick of ["j_left", "j_right"]) {
    if (!video.shown.includes(stick)) continue;
    const first = stick === "j_left" ? 0 : 2;
    const middle = top + STICK_LANE / 2;
    context.fillStyle = colours.rule;
    context.fillRect(NAMES, middle, width - NAMES, 1);
    const reach = STICK_LANE / 2 - 3;
    trace(context, rows, (row) => row.sticks[first], (value) => middle - value * reach, at, step, colours.x, []);
    trace(context, rows, (row) => row.sticks[first + 1], (value) => middle + value * reach, at, step, colours.y, [4, 2]);
    lanes.push([stick, middle]);
    top += STICK_LANE;
  }
  video.buttons.forEach((button, bit) => {
    if (!video.shown.includes(button)) return;
    context.fillStyle = colours.rule;
    context.fillRect(NAMES, top + BUTTON_LANE - 1, width - NAMES, 0.5);
    context.fillStyle = colours.held;
    runs(rows, (row) => row.held & (1 << bit), (a, b) => context.fillRect(at(a), top + 2, (b - a) * step, BUTTON_LANE - 4));
    lanes.push([button, top + BUTTON_LANE / 2]);
    top += BUTTON_LANE;
  });
  const floor = top + CONFIDENCE_LANE - 4;
  trace(context, rows, (row) => row.confidence, (value) => floor - value * (CONFIDENCE_LANE - 8), at, step, colours.ink, []);
  lanes.push(["confidence", top + CONFIDENCE_LANE / 2]);
  context.fillStyle = colours.ink;
  context.fillRect(at(view.frame + 0.5) - 1, 0, 2, height);
  context.restore();

  context.fillStyle = colours.ink;
  for (const [name, middle] of lanes) context.fillText(name, 6, middle);
}

function trace(context, rows, valueOf, heightOf, at, step, colour, dash) {
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.setLineDash(dash);
  context.beginPath();
  let drawing = false;
  for (const [frame, row] of rows) {
    const value = row ? valueOf(row) : null;
    if (value === null) {
      drawing = false;
      continue;
    }
    const x = at(frame) + step / 2;
    if (drawing) context.lineTo(x, heightOf(value));
    else context.moveTo(x, heightOf(value));
    drawing = true;
  }
  context.stroke();
  context.setLineDash([]);
}

// Calls back with [start, end) of each stretch of frames that are so.
function runs(rows, isSo, tell) {
  let start = null;
  for (const [frame, row] of rows) {
    const so = row && isSo(row);
    if (so && start === null) start = frame;
    if (!so && start !== null) {
      tell(start, frame);
      start = null;
    }
  }
  if (start !== null) tell(start, rows[rows.length - 1][0] + 1);
}

function hatch(context, left, top, width, height, colour) {
  context.save();
  context.beginPath();
  context.rect(left, top, width, height);
  context.clip();
  context.strokeStyle = colour;
  context.globalAlpha = 0.5;
  context.lineWidth = 1;
  context.beginPath();
  const first = Math.max(left, -height) - height;
  for (let x = first - (first % 8); x < Math.min(left + width, 4000); x += 8) {
    context.moveTo(x, top + height);
    context.lineTo(x + height, top);
  }
  context.stroke();
  context.restore();
}

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
