// @ts-check
/**
 * Masks from a COCO file, of pictures or of a video's frames, onto the open pictures of the same names: what was exported
 * here, what `anymask` wrote, or another tool's.
 *
 * @typedef {{id: number, name: string, mask: import("./rle.js").Mask}} Marked
 */
import { fromCoco, maskOf } from "./rle.js";
import { newThing } from "./state.js";

/**
 * @param {string} text
 * @returns {Map<string, Marked[]>} by name of the picture's file, folders left out
 * @throws {RangeError} with a sentence, where it is no such file
 */
export function readMasks(text) {
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    throw new RangeError("it is not JSON");
  }
  if (!Array.isArray(data?.annotations)) throw new RangeError("it has no annotations, so it is no COCO file");
  const names = new Map((data.categories ?? []).map((/** @type {any} */ one) => [one.id, one.name]));
  /** @type {Map<string, Marked[]>} */
  const found = new Map();
  /** @type {(file: string, id: number, label: string | undefined, shape: any) => void} */
  const add = (file, id, label, shape) => {
    const own = bare(file);
    if (!found.has(own)) found.set(own, []);
    const name = label && label !== "object" ? label : `Object ${id}`;
    found.get(own)?.push({ id, name, mask: shapeOf(shape) });
  };
  if (Array.isArray(data.videos)) {
    const files = new Map(data.videos.map((/** @type {any} */ one) => [one.id, one.file_names ?? []]));
    data.annotations.forEach((/** @type {any} */ one, /** @type {number} */ place) => {
      const frames = files.get(one.video_id) ?? [];
      one.segmentations?.forEach((/** @type {any} */ shape, /** @type {number} */ frame) => {
        if (shape && frames[frame]) add(frames[frame], one.track_id ?? place + 1, names.get(one.category_id), shape);
      });
    });
    return found;
  }
  const files = new Map((data.images ?? []).map((/** @type {any} */ one) => [one.id, one.file_name]));
  for (const one of data.annotations) {
    const file = files.get(one.image_id);
    if (file) add(file, (found.get(bare(file))?.length ?? 0) + 1, names.get(one.category_id), one.segmentation);
  }
  return found;
}

/**
 * Puts masks onto the open pictures, as one step that undo takes back.
 *
 * @param {import("./app.js").App} app
 * @param {Map<string, Marked[]>} marked
 * @returns {number} how many pictures have got some
 */
export function placeMasks(app, marked) {
  let count = 0;
  for (const picture of app.pictures.list) {
    const own = marked.get(bare(picture.name));
    if (!own?.length) continue;
    const things = own.map(({ id, name, mask }) => newThing(id, mask.size, { name, painted: mask }));
    picture.history.push("Masks from a file", { things, selected: null });
    picture.nextId = Math.max(...own.map((one) => one.id)) + 1;
    if (picture.width) checkSize(app, picture);
    count += 1;
  }
  app.events.emit("pictures");
  app.changed();
  return count;
}

/**
 * Takes masks of another size back: they were made on a picture of the same name, not on this one.
 *
 * @param {import("./app.js").App} app
 * @param {import("./pictures.js").Picture} picture
 */
export function checkSize(app, picture) {
  const { things } = picture.history.doc;
  const other = things.find(({ mask }) => mask.size[0] !== picture.height || mask.size[1] !== picture.width);
  if (!other) return;
  const [height, width] = other.mask.size;
  picture.history.push("Masks of another size", { things: [], selected: null });
  app.say(`The masks for ${picture.name} are ${width} x ${height}, the picture ${picture.width} x ${picture.height}.`, true);
}

/** @param {any} shape */
function shapeOf(shape) {
  const { size, counts } = shape ?? {};
  if (!Array.isArray(size)) throw new RangeError("its masks are polygons; write it with run lengths (RLE)");
  return typeof counts === "string" ? fromCoco({ size, counts }) : maskOf([size[0], size[1]], Uint32Array.from(counts));
}

/** @param {string} path */
function bare(path) {
  return path.split(/[\\/]/).at(-1) ?? path;
}
