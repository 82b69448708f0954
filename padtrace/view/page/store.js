// What the page has fetched of one video, block by block, and what it wants next.

export async function ask(path, options) {
  const response = await fetch(path, options);
  if (!response.ok) {
    const told = await response.json().catch(() => ({}));
    throw new Error(typeof told.detail === "string" ? told.detail : `${path}: the server answered ${response.status}`);
  }
  return response;
}

export const askJson = async (path, options) => (await ask(path, options)).json();

// Frames in blocks of equal size. One request at a time, the most wanted block first: while somebody drags the
// slider, places that were passed long ago are never asked for.
export class Blocks {
  constructor(size, count, keep, load, drop = () => {}) {
    Object.assign(this, { size, count, keep, load, drop });
    this.blocks = new Map(); // in order of use
    this.wanted = [];
    this.busy = false;
    this.closed = false;
    this.onload = () => {};
    this.onerror = () => {};
  }

  // The value of a frame; undefined while it is not here.
  get(frame) {
    const index = Math.floor(frame / this.size);
    return this.blocks.get(index)?.[frame - index * this.size];
  }

  has(frame) {
    return this.blocks.has(Math.floor(frame / this.size));
  }

  // Ask for the blocks of these frames, the first one first; what was wanted before and is not here is forgotten.
  want(frames) {
    const inside = frames.filter((frame) => frame >= 0 && frame < this.count);
    this.wanted = [...new Set(inside.map((frame) => Math.floor(frame / this.size)))].slice(0, this.keep);
    this.fetchNext();
  }

  close() {
    this.closed = true;
    for (const block of this.blocks.values()) this.drop(block);
    this.blocks.clear();
  }

  async fetchNext() {
    if (this.busy || this.closed) return;
    const index = this.wanted.find((each) => !this.blocks.has(each));
    if (index === undefined) return;
    this.busy = true;
    try {
      const block = await this.load(index * this.size, Math.min((index + 1) * this.size, this.count));
      if (this.closed) return this.drop(block);
      this.blocks.set(index, block);
      for (const old of this.blocks.keys()) {
        if (this.blocks.size <= this.keep) break;
        if (this.wanted.includes(old)) continue;
        this.drop(this.blocks.get(old));
        this.blocks.delete(old);
      }
      this.onload();
    } catch (error) {
      if (!this.closed) {
        this.wanted = []; // asked for again when somebody goes there
        this.onerror(error);
      }
      return;
    } finally {
      this.busy = false;
    }
    this.fetchNext();
  }
}

const LABELS = 512;
const PICTURES = 16;

export const openLabels = (video) =>
  new Blocks(LABELS, video.frames, 24, async (start, stop) => {
    const columns = await askJson(`api/videos/${video.id}/labels?start=${start}&stop=${stop}`);
    return columns.time.map((time, i) => ({
      time,
      held: columns.held[i],
      known: columns.known[i],
      sticks: columns.sticks[i],
      confidence: columns.confidence[i],
    }));
  });

// kind: frames or overlays. A picture that is not kept is null.
export const openPictures = (video, kind) =>
  new Blocks(
    PICTURES,
    video.frames,
    16,
    async (start, stop) => {
      const response = await ask(`api/videos/${video.id}/${kind}?start=${start}&stop=${stop}`);
      return unpack(await response.arrayBuffer(), stop - start);
    },
    (block) => block.forEach((picture) => picture?.close()),
  );

// The length of each JPEG as uint32, little-endian, then all of them.
function unpack(data, count) {
  const view = new DataView(data);
  let offset = 4 * count;
  const pictures = [];
  for (let i = 0; i < count; i++) {
    const length = view.getUint32(4 * i, true);
    const jpeg = new Blob([data.slice(offset, offset + length)], { type: "image/jpeg" });
    pictures.push(length ? createImageBitmap(jpeg) : null);
    offset += length;
  }
  return Promise.all(pictures);
}
