// @ts-check
/**
 * Masks as run lengths: the same columns-first runs as COCO's, kept as numbers. A mask never changes once made.
 *
 * @typedef {[number, number]} Size height and width in pixels
 * @typedef {[number, number, number, number]} Box x, y, width, height in pixels
 * @typedef {object} Mask
 * @property {Size} size
 * @property {Uint32Array} runs lengths of 0 and 1 in turn, starting with 0, down the columns
 * @property {Box} box the smallest box around it; all zero when empty
 * @property {number} area pixels inside
 *
 * @typedef {object} Bits a piece of a mask as bytes 0 and 1, row by row
 * @property {number} x left edge, in steps
 * @property {number} y top edge, in steps
 * @property {number} w
 * @property {number} h
 * @property {number} step every step-th pixel in both directions is looked at
 * @property {Uint8Array} data
 */

/**
 * @param {Size} size
 * @param {Uint32Array} runs
 * @returns {Mask}
 */
export function maskOf(size, runs) {
  const [height, width] = size;
  let at = 0;
  let area = 0;
  let left = width;
  let right = -1;
  let top = height;
  let bottom = -1;
  for (let i = 0; i < runs.length; i++) {
    const length = runs[i];
    if (i % 2 && length) {
      area += length;
      const end = at + length - 1;
      const firstColumn = Math.floor(at / height);
      const lastColumn = Math.floor(end / height);
      if (firstColumn < left) left = firstColumn;
      if (lastColumn > right) right = lastColumn;
      if (firstColumn !== lastColumn) {
        top = 0;
        bottom = height - 1;
      } else {
        const row = at - firstColumn * height;
        if (row < top) top = row;
        if (row + length - 1 > bottom) bottom = row + length - 1;
      }
    }
    at += length;
  }
  if (at !== height * width) throw new RangeError(`runs cover ${at} pixels of ${height * width}`);
  const box = /** @type {Box} */ (area ? [left, top, right - left + 1, bottom - top + 1] : [0, 0, 0, 0]);
  return { size, runs, box, area };
}

/**
 * @param {Size} size
 * @returns {Mask}
 */
export function emptyMask(size) {
  return { size, runs: Uint32Array.of(size[0] * size[1]), box: [0, 0, 0, 0], area: 0 };
}

/**
 * The mask's box as bytes. With a step of n, one pixel of n x n stands for its neighbours: enough for a picture that is
 * shown smaller than it is, and a fraction of the work.
 *
 * @param {Mask} mask
 * @param {number} [step]
 * @returns {Bits}
 */
export function bitsOf(mask, step = 1) {
  const height = mask.size[0];
  const phase = step >> 1;
  const [bx, by, bw, bh] = mask.box;
  const x = Math.floor(bx / step);
  const y = Math.floor(by / step);
  const w = mask.area ? Math.ceil((bx + bw) / step) - x : 0;
  const h = mask.area ? Math.ceil((by + bh) / step) - y : 0;
  const data = new Uint8Array(w * h);
  let at = 0;
  for (let i = 0; i < mask.runs.length; i++) {
    const length = mask.runs[i];
    if (i % 2) {
      const end = at + length;
      let from = at;
      while (from < end) {
        const column = Math.floor(from / height);
        const stop = Math.min(end, (column + 1) * height);
        if (column % step === phase) {
          const first = Math.ceil((from - column * height - phase) / step);
          const last = Math.floor((stop - 1 - column * height - phase) / step);
          let target = (Math.max(first, 0) - y) * w + (column - phase) / step - x;
          for (let row = Math.max(first, 0); row <= last; row++, target += w) data[target] = 1;
        }
        from = stop;
      }
    }
    at += length;
  }
  return { x, y, w, h, step, data };
}

/**
 * A mask from bytes at full resolution; whatever lies outside the canvas is left out.
 *
 * @param {Size} size
 * @param {{x: number, y: number, w: number, h: number, data: Uint8Array}} bits
 * @returns {Mask}
 */
export function fromBits(size, { x, y, w, h, data }) {
  const [height, width] = size;
  /** @type {number[]} */
  const runs = [];
  let last = 0; // where the run before ended
  let start = -1;
  const from = Math.max(0, x);
  const to = Math.min(width, x + w);
  const top = Math.max(0, y);
  const bottom = Math.min(height, y + h);
  for (let column = from; column < to; column++) {
    if (start >= 0 && top > 0) {
      runs.push(start - last, column * height - start);
      last = column * height;
      start = -1;
    }
    let source = (top - y) * w + column - x;
    for (let row = top; row < bottom; row++, source += w) {
      const at = column * height + row;
      if (data[source]) {
        if (start < 0) start = at;
      } else if (start >= 0) {
        runs.push(start - last, at - start);
        last = at;
        start = -1;
      }
    }
    if (start >= 0 && bottom < height) {
      const at = column * height + bottom;
      runs.push(start - last, at - start);
      last = at;
      start = -1;
    }
  }
  if (start >= 0) {
    runs.push(start - last, to * height - start);
    last = to * height;
  }
  if (last < height * width) runs.push(height * width - last);
  return maskOf(size, Uint32Array.from(runs));
}

/**
 * Two masks joined pixel by pixel, without ever unpacking them.
 *
 * @param {Mask} a
 * @param {Mask} b
 * @param {"or" | "and" | "minus"} how
 * @returns {Mask}
 */
export function combine(a, b, how) {
  const total = a.size[0] * a.size[1];
  /** @type {number[]} */
  const runs = [];
  let i = 0;
  let j = 0;
  let restA = a.runs[0];
  let restB = b.runs[0];
  let value = 0;
  let length = 0;
  let at = 0;
  while (at < total) {
    while (!restA && i < a.runs.length - 1) restA = a.runs[++i];
    while (!restB && j < b.runs.length - 1) restB = b.runs[++j];
    const step = Math.min(restA, restB);
    const inA = i & 1;
    const inB = j & 1;
    const inside = how === "or" ? inA | inB : how === "and" ? inA & inB : inA & (inB ^ 1);
    if (inside === value) length += step;
    else {
      runs.push(length);
      value = inside;
      length = step;
    }
    restA -= step;
    restB -= step;
    at += step;
  }
  runs.push(length);
  return maskOf(a.size, Uint32Array.from(runs));
}

/**
 * Whether two masks have the same pixels.
 *
 * @param {Mask} a
 * @param {Mask} b
 */
export function same(a, b) {
  return a === b || (a.area === b.area && a.runs.length === b.runs.length && a.runs.every((run, place) => run === b.runs[place]));
}

/**
 * How alike two masks are: shared pixels over all pixels; two empty masks are alike.
 *
 * @param {Mask} a
 * @param {Mask} b
 */
export function iou(a, b) {
  const shared = combine(a, b, "and").area;
  const all = a.area + b.area - shared;
  return all ? shared / all : 1;
}

/**
 * Whether pixel (x, y) is inside.
 *
 * @param {Mask} mask
 * @param {number} x
 * @param {number} y
 */
export function contains(mask, x, y) {
  const [height, width] = mask.size;
  const column = Math.floor(x);
  const row = Math.floor(y);
  if (column < 0 || row < 0 || column >= width || row >= height) return false;
  const wanted = column * height + row;
  let at = 0;
  for (let i = 0; i < mask.runs.length; i++) {
    at += mask.runs[i];
    if (wanted < at) return i % 2 === 1;
  }
  return false;
}

/**
 * The mask without the connected piece that holds (x, y): for a click that contradicts what was painted by hand.
 *
 * @param {Mask} mask
 * @param {number} x
 * @param {number} y
 * @returns {Mask}
 */
export function withoutPiece(mask, x, y) {
  if (!contains(mask, x, y)) return mask;
  const bits = bitsOf(mask);
  const stack = [(Math.floor(y) - bits.y) * bits.w + Math.floor(x) - bits.x];
  while (stack.length) {
    const at = /** @type {number} */ (stack.pop());
    if (!bits.data[at]) continue;
    bits.data[at] = 0;
    const column = at % bits.w;
    if (column > 0) stack.push(at - 1);
    if (column < bits.w - 1) stack.push(at + 1);
    if (at >= bits.w) stack.push(at - bits.w);
    if (at + bits.w < bits.data.length) stack.push(at + bits.w);
  }
  return fromBits(mask.size, bits);
}

/**
 * COCO's compressed run lengths: differences to the run two before, in groups of five bits from character 48 on.
 *
 * @param {Mask} mask
 * @returns {{size: Size, counts: string}}
 */
export function toCoco(mask) {
  const { runs } = mask;
  /** @type {string[]} */
  const parts = [];
  /** @type {number[]} */
  let codes = [];
  for (let i = 0; i < runs.length; i++) {
    let value = i > 2 ? runs[i] - runs[i - 2] : runs[i];
    let more = true;
    while (more) {
      let code = value & 0x1f;
      value >>= 5;
      more = code & 0x10 ? value !== -1 : value !== 0;
      if (more) code |= 0x20;
      codes.push(code + 48);
    }
    if (codes.length > 4096) {
      parts.push(String.fromCharCode(...codes));
      codes = [];
    }
  }
  parts.push(String.fromCharCode(...codes));
  return { size: mask.size, counts: parts.join("") };
}

/**
 * @param {{size: number[], counts: string}} rle
 * @returns {Mask}
 */
export function fromCoco({ size, counts }) {
  /** @type {number[]} */
  const runs = [];
  let at = 0;
  while (at < counts.length) {
    let value = 0;
    let shift = 0;
    let more = true;
    while (more) {
      const code = counts.charCodeAt(at++) - 48;
      value |= (code & 0x1f) << shift;
      more = (code & 0x20) !== 0;
      shift += 5;
      if (!more && code & 0x10) value |= -1 << shift;
    }
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return maskOf([size[0], size[1]], Uint32Array.from(runs));
}
