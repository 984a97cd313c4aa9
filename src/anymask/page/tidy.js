// @ts-check
/**
 * Masks without the specks and pinholes that small models leave. It works on the runs, so its time follows the length of
 * the edges and not the number of pixels.
 *
 * @typedef {import("./rle.js").Mask} Mask
 * @typedef {{top: Int32Array, bottom: Int32Array, column: Int32Array, piece: Int32Array, area: Float64Array, edge: Uint8Array}} Pieces
 */
import { maskOf } from "./rle.js";

/** Islands and holes smaller than this share of the mask go; those that were clicked stay. */
const SMALL = 0.02;

/**
 * @param {Mask} mask
 * @param {readonly (readonly number[])[]} [points] (x, y) of clicks
 * @param {readonly number[]} [labels]
 * @returns {Mask} the same one when nothing was to be done
 */
export function tidy(mask, points = [], labels = []) {
  if (!mask.area) return mask;
  const islands = pieces(mask, 1);
  const least = SMALL * Math.max(...islands.area);
  const asked = new Set(points.filter((_, place) => labels[place]).map((point) => pieceAt(islands, point)));
  const solid = redone(mask, islands, 1, (piece) => islands.area[piece] >= least || asked.has(piece));
  const holes = pieces(solid, 0);
  const spared = new Set(points.filter((_, place) => !labels[place]).map((point) => pieceAt(holes, point)));
  const keep = (/** @type {number} */ piece) =>
    holes.edge[piece] === 1 || holes.area[piece] >= SMALL * solid.area || spared.has(piece);
  return redone(solid, holes, 0, keep);
}

/**
 * The connected pieces of one value; diagonal neighbours hold together inside and not outside.
 *
 * @param {Mask} mask
 * @param {0 | 1} value
 * @returns {Pieces}
 */
function pieces(mask, value) {
  const [height, width] = mask.size;
  /** @type {number[]} */
  const columns = [];
  /** @type {number[]} */
  const tops = [];
  /** @type {number[]} */
  const bottoms = [];
  let at = 0;
  mask.runs.forEach((length, index) => {
    for (let from = at; index % 2 === value && from < at + length; ) {
      const column = Math.floor(from / height);
      const stop = Math.min(at + length, (column + 1) * height);
      columns.push(column);
      tops.push(from - column * height);
      bottoms.push(stop - column * height);
      from = stop;
    }
    at += length;
  });
  const count = columns.length;
  const parent = Int32Array.from({ length: count }, (_, index) => index);
  const root = (/** @type {number} */ one) => {
    while (parent[one] !== one) one = parent[one] = parent[parent[one]];
    return one;
  };
  let before = 0; // first stretch of the column to the left that can still touch
  for (let now = 0; now < count; now++) {
    while (columns[before] < columns[now] - 1) before += 1;
    for (let other = before; other < now && columns[other] === columns[now] - 1; other++) {
      const apart = tops[other] - bottoms[now];
      if (apart > 0 || (!value && apart === 0)) break;
      const over = tops[now] - bottoms[other];
      if (over > 0 || (!value && over === 0)) {
        before = other + 1;
        continue;
      }
      parent[root(now)] = root(other);
    }
  }
  const piece = new Int32Array(count);
  const area = new Float64Array(count);
  const edge = new Uint8Array(count);
  for (let one = 0; one < count; one++) {
    const of = (piece[one] = root(one));
    area[of] += bottoms[one] - tops[one];
    if (!columns[one] || columns[one] === width - 1 || !tops[one] || bottoms[one] === height) edge[of] = 1;
  }
  return { column: Int32Array.from(columns), top: Int32Array.from(tops), bottom: Int32Array.from(bottoms), piece, area, edge };
}

/**
 * @param {Pieces} found
 * @param {readonly number[]} point
 */
function pieceAt({ column, top, bottom, piece }, [x, y]) {
  for (let one = 0; one < column.length; one++) {
    if (column[one] === Math.floor(x) && top[one] <= y && y < bottom[one]) return piece[one];
  }
  return -1;
}

/**
 * The mask with the pieces that are not kept turned over.
 *
 * @param {Mask} mask
 * @param {Pieces} found
 * @param {0 | 1} value
 * @param {(piece: number) => boolean} keep
 */
function redone(mask, found, value, keep) {
  const [height, width] = mask.size;
  /** @type {number[]} */
  const runs = [];
  let turned = false;
  let length = 0;
  let last = 0;
  const add = (/** @type {number} */ to, /** @type {number} */ of) => {
    if (of === last) length += to;
    else {
      runs.push(length);
      last = of;
      length = to;
    }
  };
  let at = 0;
  for (let one = 0; one < found.piece.length; one++) {
    const from = found.column[one] * height + found.top[one];
    if (from > at) add(from - at, 1 - value);
    const kept = keep(found.piece[one]);
    if (!kept) turned = true;
    at = found.column[one] * height + found.bottom[one];
    add(at - from, kept ? value : 1 - value);
  }
  if (!turned) return mask;
  if (at < height * width) add(height * width - at, 1 - value);
  runs.push(length);
  return maskOf(mask.size, Uint32Array.from(runs));
}
