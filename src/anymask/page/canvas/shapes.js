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
  // a rim of nothing around the picture, so that no step needs to look whether it is at the edge
  const stride = w + 2;
  const pixels = new Uint8Array(stride * (h + 2));
  for (let row = 0; row < h; row++) pixels.set(data.subarray(row * w, (row + 1) * w), (row + 1) * stride + 1);
  const walked = new Uint8Array(pixels.length); // the top edges of these pixels are done
  // right, down, left, up: a step, and the pixels ahead to the right and left of a corner's lower right pixel
  const step = [1, stride, -1, -stride];
  const aheadRight = [0, -1, -1 - stride, -stride];
  const aheadLeft = [-stride, 0, -1, -1 - stride];
  const across = [0.5, 0, -0.5, 0];
  const along = [0, 0.5, 0, -0.5];
  for (let start = stride; start < pixels.length - stride; start++) {
    if (!pixels[start] || walked[start] || pixels[start - stride]) continue;
    let at = start;
    let heading = 0;
    let straight = 0;
    let first = true;
    do {
      if (heading === 0) walked[at] = 1;
      at += step[heading];
      straight += 1;
      const turn = !pixels[at + aheadRight[heading]] ? 1 : pixels[at + aheadLeft[heading]] ? 3 : 0;
      if (!turn) continue;
      const next = (heading + turn) & 3;
      const x = (at % stride) - 1;
      const y = (at - x - 1) / stride - 1;
      if (!smooth) {
        if (first) path.moveTo(x, y);
        else path.lineTo(x, y);
      } else {
        if (first) path.moveTo(x - across[heading], y - along[heading]);
        // after a single step this middle is the one just drawn to
        else if (straight > 1) path.lineTo(x - across[heading], y - along[heading]);
        path.lineTo(x + across[next], y + along[next]);
      }
      first = false;
      straight = 0;
      heading = next;
    } while (at !== start || heading !== 0);
    path.closePath();
  }
  return path;
}
