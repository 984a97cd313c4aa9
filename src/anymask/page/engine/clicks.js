// @ts-check
/**
 * Clicks that build on each other, decided as `anymask.session.clicks` decides them, so that a click means the same in
 * the browser and on the server.
 *
 * @typedef {object} Option
 * @property {import("../rle.js").Mask} mask
 * @property {number} score
 * @property {Float32Array} logits
 */
import { contains, iou } from "../rle.js";

/** Candidates of a higher IoU than this look the same to a person; one of them is offered. */
const SAME = 0.98;

/**
 * The options ranked by how many clicks they agree with, the model's own order among equals.
 *
 * @param {Option[]} options the mask before comes last
 * @param {[number, number][]} points
 * @param {number[]} labels
 * @param {Option} before
 * @returns {{ranked: Option[], note: string}}
 */
export function settle(options, points, labels, before) {
  const kept = distinct(options);
  const agreed = kept.map((option) => agreement(option, points, labels));
  const best = Math.max(...agreed);
  const order = kept.map((_, place) => place).sort((a, b) => agreed[b] - agreed[a] || a - b);
  const ranked = order.map((place) => kept[place]);
  let note = "";
  if (agreed[0] < best && iou(ranked[0].mask, before.mask) >= SAME) {
    note = "no new candidate agrees with the clicks as well as the mask before, so it was kept; undo or choose";
  } else if (best < labels.length) {
    note = `the answer agrees with ${best} of ${labels.length} clicks; another click or a candidate may help`;
  }
  return { ranked, note };
}

/**
 * How many clicks a mask agrees with.
 *
 * @param {Option} option
 * @param {[number, number][]} points
 * @param {number[]} labels
 */
export function agreement({ mask }, points, labels) {
  const [height, width] = mask.size;
  return points.filter(([x, y], place) => {
    const inside = contains(mask, Math.min(x, width - 1), Math.min(y, height - 1));
    return inside === Boolean(labels[place]);
  }).length;
}

/** @param {Option[]} options */
function distinct(options) {
  /** @type {Option[]} */
  const kept = [];
  for (const option of options) if (kept.every((other) => iou(option.mask, other.mask) < SAME)) kept.push(option);
  return kept;
}
