// @ts-check
/**
 * Low-resolution logits to a mask of the photo, as run lengths and without ever making the photo-sized picture: down a
 * column bilinear interpolation is a line from one row of logits to the next, so the pixel where it crosses zero is
 * known at once.
 *
 * @typedef {object} Frame how a photo lies in the model's square
 * @property {[number, number]} original height, width of the photo
 * @property {[number, number]} resized height, width after scaling
 * @property {[number, number]} padded height, width of the square
 */
import { maskOf } from "../rle.js";

/**
 * @param {Float32Array} logits over the padded square, row by row
 * @param {number} rows
 * @param {number} columns
 * @param {Frame} frame
 * @returns {import("../rle.js").Mask}
 */
export function upscaled(logits, rows, columns, frame) {
  const [height, width] = frame.original;
  const sx = ((frame.resized[1] / width) * columns) / frame.padded[1];
  const sy = ((frame.resized[0] / height) * rows) / frame.padded[0];
  // rows of logits that the photo's pixels lie between, and the first pixel at or below each
  const last = Math.min(rows - 1, Math.max(0, Math.floor((height - 0.5) * sy - 0.5) + 1));
  const starts = Int32Array.from({ length: last + 1 }, (_, row) => below(row, sy, height));
  const line = new Float32Array(last + 1);
  /** @type {number[]} */
  const runs = [];
  let since = 0; // where the current run began
  let on = false;
  const turn = (/** @type {number} */ at, /** @type {boolean} */ to) => {
    if (to === on) return;
    runs.push(at - since);
    since = at;
    on = to;
  };
  for (let x = 0; x < width; x++) {
    const u = Math.max(0, (x + 0.5) * sx - 0.5);
    const left = Math.min(columns - 1, Math.floor(u));
    const right = Math.min(columns - 1, left + 1);
    const share = u - left;
    for (let row = 0, at = 0; row <= last; row++, at += columns) {
      line[row] = logits[at + left] * (1 - share) + logits[at + right] * share;
    }
    const top = x * height;
    turn(top, line[0] > 0);
    for (let row = 0; row < last; row++) {
      const above = line[row] > 0;
      const next = line[row + 1] > 0;
      if (above === next) continue;
      const crossing = row + line[row] / (line[row] - line[row + 1]);
      const at = Math.min(Math.max(below(crossing, sy, height), starts[row]), starts[row + 1]);
      if (at < height) turn(top + at, next);
    }
  }
  runs.push(width * height - since);
  return maskOf([height, width], Uint32Array.from(runs));
}

/**
 * The first pixel whose middle is at or below a height given in rows of logits.
 *
 * @param {number} v
 * @param {number} scale
 * @param {number} height
 */
function below(v, scale, height) {
  return Math.max(0, Math.min(height, Math.ceil((v + 0.5) / scale - 0.5)));
}
