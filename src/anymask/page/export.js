// @ts-check
/** The shown masks as files and on the clipboard. */
import { bitsOf, combine, toCoco } from "./rle.js";
import { find } from "./state.js";

/**
 * @typedef {import("./app.js").App} App
 * @typedef {import("./state.js").Thing} Thing
 */

/**
 * What is exported: all objects that are shown and not empty, lowest first.
 *
 * @param {App} app
 */
export function shownThings(app) {
  return app.doc?.things.filter((thing) => !thing.hidden && thing.mask.area) ?? [];
}

/**
 * @param {App} app
 * @param {"coco" | "png" | "svg" | "cutout"} format
 */
export async function download(app, format) {
  const picture = app.pictures.current;
  const things = shownThings(app);
  if (!picture || !things.length) return app.say("Nothing to export yet: click something first.", true);
  const objects = things.map(({ name, colour, mask }) => ({ name, colour, mask: toCoco(mask) }));
  try {
    const file = await app.remembered(picture, () => app.engine.export(picture.id, format, objects));
    save(app, file.blob, file.name);
    app.say(`Saved ${file.name}.`, true);
  } catch (error) {
    app.failed(error);
  }
}

/** @param {App} app */
export async function copyCutout(app) {
  await copy(app, "Cut-out", (things) => cutout(app, things));
}

/** @param {App} app */
export async function copyMask(app) {
  await copy(app, "Mask", (things) => maskPicture(things));
}

/**
 * @param {App} app
 * @param {string} what
 * @param {(things: Thing[]) => HTMLCanvasElement} draw
 */
async function copy(app, what, draw) {
  const selected = app.doc && find(app.doc);
  const things = selected?.mask.area ? [selected] : shownThings(app);
  if (!things.length) return app.say("Nothing to copy yet: click something first.", true);
  try {
    const canvas = draw(things);
    const blob = new Promise((done, failed) =>
      canvas.toBlob((made) => (made ? done(made) : failed(new Error("The picture is too large to copy."))), "image/png"),
    );
    // Safari wants the promise, so that the click still counts as the reason
    await navigator.clipboard.write([new ClipboardItem({ "image/png": /** @type {Promise<Blob>} */ (blob) })]);
    app.say(`${what} copied.`, true);
  } catch {
    app.say("The browser does not let this page use the clipboard here; download the file instead.", true);
  }
}

/**
 * The photo's pixels inside the masks, trimmed to their box, transparent elsewhere.
 *
 * @param {App} app
 * @param {readonly Thing[]} things
 */
function cutout(app, things) {
  const mask = things.map((thing) => thing.mask).reduce((a, b) => combine(a, b, "or"));
  const [x, y, w, h] = mask.box;
  const { canvas, context } = paper(w, h);
  context.drawImage(/** @type {ImageBitmap} */ (app.pictures.current?.bitmap), x, y, w, h, 0, 0, w, h);
  const pixels = context.getImageData(0, 0, w, h);
  const { data } = bitsOf(mask);
  for (let i = 0; i < data.length; i++) if (!data[i]) pixels.data[4 * i + 3] = 0;
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/**
 * White where a mask is and black elsewhere, in the picture's size.
 *
 * @param {readonly Thing[]} things
 */
function maskPicture(things) {
  const mask = things.map((thing) => thing.mask).reduce((a, b) => combine(a, b, "or"));
  const { canvas, context } = paper(mask.size[1], mask.size[0]);
  context.fillRect(0, 0, canvas.width, canvas.height);
  const { x, y, w, h, data } = bitsOf(mask);
  const pixels = context.createImageData(w, h);
  const words = new Uint32Array(pixels.data.buffer);
  for (let i = 0; i < data.length; i++) words[i] = data[i] ? 0xffffffff : 0xff000000;
  context.putImageData(pixels, x, y);
  return canvas;
}

/**
 * @param {number} width
 * @param {number} height
 */
function paper(width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  return { canvas, context };
}

/**
 * @param {App} app
 * @param {Blob} blob
 * @param {string} name
 */
function save(app, blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  app.root.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
