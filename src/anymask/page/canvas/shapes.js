// @ts-check
/**
 * Masks as things a canvas draws quickly: a tinted bitmap of the mask's box, and its outline as a path. Both are made
 * at the coarsest step that still gives a pixel of the mask for each pixel of the screen, and kept with the mask.
 *
 * @typedef {import("../rle.js").Mask} Mask
 * @typedef {import("../rle.js").Bits} Bits
 * @typedef {{bits: Bits, path: Path2D | null, smooth: boolean, tints: Map<string, HTMLCanvasElement>}} Shape
 */
import { bitsOf } from "../rle.js";

/** From this many screen pixels a pixel on, outlines follow the pixels' edges exactly. */
const EXACT_FROM = 3;

/** @type {WeakMap<Mask, Map<number, Shape>>} */
const made = new WeakMap();

/**
 * @param {number} density screen pixels for a pixel of the picture
 */
export function stepFor(density) {
  return density >= 1 ? 1 : 2 ** Math.min(5, Math.floor(Math.log2(1 / density)));
}

/**
 * @param {Mask} mask
 * @param {number} step
 * @returns {Shape}
 */
export function shapeOf(mask, step) {
  let shapes = made.get(mask);
  if (!shapes) made.set(mask, (shapes = new Map()));
  let shape = shapes.get(step);
  if (!shape) {
    shape = { bits: bitsOf(mask, step), path: null, smooth: false, tints: new Map() };
    shapes.set(step, shape);
  }
  return shape;
}

/**
 * The shape filled with one colour, on a canvas of its own.
 *
 * @param {Shape} shape
 * @param {string} colour #rrggbb
 */
export function tinted(shape, colour) {
  let canvas = shape.tints.get(colour);
  if (canvas) return canvas;
  const { w, h, data } = shape.bits;
  canvas = document.createElement("canvas");
  canvas.width = Math.max(1, w);
  canvas.height = Math.max(1, h);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const picture = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(picture.data.buffer);
  const [red, green, blue] = rgb(colour);
  const value = (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
  for (let i = 0; i < data.length; i++) if (data[i]) pixels[i] = value;
  context.putImageData(picture, 0, 0);
  shape.tints.set(colour, canvas);
  return canvas;
}

/**
 * The shape's outline in units of its step, its box at the origin.
 *
 * @param {Shape} shape
 * @param {number} density screen pixels for a pixel of the picture
 */
export function outlineOf(shape, density) {
  const smooth = density < EXACT_FROM;
  if (!shape.path || shape.smooth !== smooth) {
    shape.path = traced(shape.bits, smooth);
    shape.smooth = smooth;
  }
  return shape.path;
}

/** @param {string} colour */
export function rgb(colour) {
  const value = parseInt(colour.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/**
 * Walks along the edges between inside and outside, the inside on the right hand. Smooth outlines go from middle to
 * middle of the pixels' edges, which makes steps into slopes.
 *
 * @param {Bits} bits
 * @param {boolean} smooth
 */
function traced({ w, h, data }, smooth) {
  const path = new Path2D();
  const walked = new Uint8Array(w * h); // the top edges of these pixels are done
  const inside = (/** @type {number} */ x, /** @type {number} */ y) => x >= 0 && y >= 0 && x < w && y < h && data[y * w + x];
  for (let start = 0; start < data.length; start++) {
    if (!data[start] || walked[start] || (start >= w && data[start - w])) continue;
    const x0 = start % w;
    const y0 = (start - x0) / w;
    let [x, y, dx, dy] = [x0, y0, 1, 0];
    let first = true;
    do {
      if (dx === 1) walked[y * w + x] = 1;
      x += dx;
      y += dy;
      // the two pixels ahead, seen from the corner (x, y)
      const aheadRight =
        dx === 1 ? inside(x, y) : dx === -1 ? inside(x - 1, y - 1) : dy === 1 ? inside(x - 1, y) : inside(x, y - 1);
      const aheadLeft =
        dx === 1 ? inside(x, y - 1) : dx === -1 ? inside(x - 1, y) : dy === 1 ? inside(x, y) : inside(x - 1, y - 1);
      let [nx, ny] = [dx, dy];
      if (!aheadRight) [nx, ny] = [-dy, dx];
      else if (aheadLeft) [nx, ny] = [dy, -dx];
      if (nx !== dx) {
        if (smooth) {
          if (first) path.moveTo(x - dx / 2, y - dy / 2);
          else path.lineTo(x - dx / 2, y - dy / 2);
          path.lineTo(x + nx / 2, y + ny / 2);
        } else if (first) path.moveTo(x, y);
        else path.lineTo(x, y);
        first = false;
      }
      [dx, dy] = [nx, ny];
    } while (x !== x0 || y !== y0 || dx !== 1);
    path.closePath();
  }
  return path;
}
