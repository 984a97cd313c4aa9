// @ts-check
/** Lines drawn by hand, turned into pixels. */
import { fromBits } from "../rle.js";

/**
 * @typedef {import("../rle.js").Mask} Mask
 * @typedef {{x: number, y: number}} XY
 */

/**
 * All pixels whose middle lies within the radius of a line; at least the pixels the line's corners are in.
 *
 * @param {import("../rle.js").Size} size
 * @param {readonly XY[]} line
 * @param {number} radius pixels of the picture
 * @returns {Mask}
 */
export function strokeMask(size, line, radius) {
  const [height, width] = size;
  const xs = line.map((place) => place.x);
  const ys = line.map((place) => place.y);
  const x = Math.max(0, Math.floor(Math.min(...xs) - radius));
  const y = Math.max(0, Math.floor(Math.min(...ys) - radius));
  const w = Math.max(1, Math.min(width, Math.ceil(Math.max(...xs) + radius) + 1) - x);
  const h = Math.max(1, Math.min(height, Math.ceil(Math.max(...ys) + radius) + 1) - y);
  const data = new Uint8Array(w * h);
  line.forEach((to, index) => {
    const from = line[Math.max(0, index - 1)];
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const long = dx * dx + dy * dy;
    const left = Math.max(x, Math.floor(Math.min(from.x, to.x) - radius));
    const right = Math.min(x + w - 1, Math.ceil(Math.max(from.x, to.x) + radius));
    const top = Math.max(y, Math.floor(Math.min(from.y, to.y) - radius));
    const bottom = Math.min(y + h - 1, Math.ceil(Math.max(from.y, to.y) + radius));
    for (let row = top; row <= bottom; row++) {
      for (let column = left; column <= right; column++) {
        const [px, py] = [column + 0.5 - from.x, row + 0.5 - from.y];
        const along = long ? Math.max(0, Math.min(1, (px * dx + py * dy) / long)) : 0;
        const away = (px - along * dx) ** 2 + (py - along * dy) ** 2;
        if (away <= radius * radius) data[(row - y) * w + column - x] = 1;
      }
    }
    const [column, row] = [Math.floor(to.x) - x, Math.floor(to.y) - y];
    if (column >= 0 && row >= 0 && column < w && row < h) data[row * w + column] = 1;
  });
  return fromBits(size, { x, y, w, h, data });
}

/**
 * All pixels whose middle lies inside a closed line, by the even-odd rule.
 *
 * @param {import("../rle.js").Size} size
 * @param {readonly XY[]} loop
 * @returns {Mask}
 */
export function loopMask(size, loop) {
  const [height, width] = size;
  const xs = loop.map((place) => place.x);
  const ys = loop.map((place) => place.y);
  const x = Math.max(0, Math.floor(Math.min(...xs)));
  const y = Math.max(0, Math.floor(Math.min(...ys)));
  const w = Math.max(1, Math.min(width, Math.ceil(Math.max(...xs))) - x);
  const h = Math.max(1, Math.min(height, Math.ceil(Math.max(...ys))) - y);
  const data = new Uint8Array(w * h);
  for (let row = 0; row < h; row++) {
    const middle = y + row + 0.5;
    /** @type {number[]} */
    const crossings = [];
    loop.forEach((to, index) => {
      const from = loop[(index || loop.length) - 1];
      if (from.y <= middle !== to.y <= middle) {
        crossings.push(from.x + ((middle - from.y) / (to.y - from.y)) * (to.x - from.x));
      }
    });
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const first = Math.max(0, Math.ceil(crossings[i] - 0.5) - x);
      const last = Math.min(w, Math.ceil(crossings[i + 1] - 0.5) - x);
      if (last > first) data.fill(1, row * w + first, row * w + last);
    }
  }
  return fromBits(size, { x, y, w, h, data });
}

/**
 * A few places spread evenly along a line, its ends included.
 *
 * @param {readonly XY[]} line
 * @param {number} most
 * @returns {XY[]}
 */
export function spread(line, most) {
  /** @type {number[]} */
  const lengths = [0];
  for (let i = 1; i < line.length; i++) {
    lengths.push(lengths[i - 1] + Math.hypot(line[i].x - line[i - 1].x, line[i].y - line[i - 1].y));
  }
  const total = lengths[lengths.length - 1];
  if (total < 2) return [line[0]];
  /** @type {XY[]} */
  const places = [];
  let at = 1;
  for (let k = 0; k < most; k++) {
    const wanted = (total * k) / (most - 1);
    while (at < line.length - 1 && lengths[at] < wanted) at += 1;
    const share = (wanted - lengths[at - 1]) / (lengths[at] - lengths[at - 1] || 1);
    const [a, b] = [line[at - 1], line[at]];
    places.push({ x: a.x + (b.x - a.x) * share, y: a.y + (b.y - a.y) * share });
  }
  return places;
}
