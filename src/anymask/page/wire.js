// @ts-check
/**
 * Answers with masks as they travel: the binary form `application/vnd.anymask.masks` and the plain JSON form.
 *
 * @typedef {import("./rle.js").Mask} Mask
 * @typedef {object} Found
 * @property {Mask} mask
 * @property {number} score the model's own estimate, 0..1
 * @property {number | null} parent index of the enclosing mask in the same answer
 * @typedef {object} Answer
 * @property {string} id what a later question names as its `previous`
 * @property {string} note empty, or a sentence for people
 * @property {Found[]} masks best first
 */
import { fromCoco, maskOf } from "./rle.js";

export const BINARY = "application/vnd.anymask.masks";

/**
 * @param {ArrayBuffer} buffer uint32 length of the header, header JSON padded to four bytes, then uint32 runs
 * @returns {Answer}
 */
export function fromBinary(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const start = 4 + Math.ceil(length / 4) * 4;
  const runs = new Uint32Array(buffer, start);
  return {
    id: header.answer ?? "",
    note: header.note ?? "",
    masks: header.masks.map((/** @type {any} */ one) => ({
      mask: maskOf(header.size, runs.slice(one.offset, one.offset + one.runs)),
      score: one.score,
      parent: one.parent >= 0 ? one.parent : null,
    })),
  };
}

/**
 * @param {any} reply
 * @returns {Answer}
 */
export function fromJson(reply) {
  return {
    id: reply.answer ?? "",
    note: reply.note ?? "",
    masks: reply.masks.map((/** @type {any} */ one) => ({
      mask: fromCoco(one.rle),
      score: one.score,
      parent: one.parent >= 0 ? one.parent : null,
    })),
  };
}
