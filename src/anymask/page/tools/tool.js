// @ts-check
/**
 * What every tool can be told. A tool holds what is being drawn right now and nothing else.
 *
 * @typedef {import("../canvas/pointer.js").Place} Place
 * @typedef {object} Tool
 * @property {string} name
 * @property {string} hint one sentence for the bar below the picture
 * @property {boolean} [marks] the selected object's clicks and box are drawn
 * @property {boolean} [taps] a press alone does something; a long one takes away
 * @property {"size" | "mode" | "everything"} [option] what can be set while it is in hand
 * @property {(place: Place) => void} [hover]
 * @property {() => void} [leave]
 * @property {(place: Place) => void} down
 * @property {(place: Place) => void} move
 * @property {(place: Place) => void} up
 * @property {() => void} [cancel]
 * @property {(context: CanvasRenderingContext2D, render: import("../canvas/render.js").Render) => void} [draw]
 * @property {(context: CanvasRenderingContext2D, render: import("../canvas/render.js").Render) => void} [drawMasks]
 * @property {() => void} [picked] it was taken in hand
 * @property {() => void} [dropped] another was
 */

/**
 * A place held within the picture.
 *
 * @param {import("../app.js").App} app
 * @param {{x: number, y: number}} place
 * @returns {[number, number]}
 */
export function within(app, { x, y }) {
  const { width, height } = app.view.image;
  return [Math.max(0, Math.min(width, x)), Math.max(0, Math.min(height, y))];
}

/**
 * The middle of the pixel at a place, or null outside the picture.
 *
 * @param {import("../app.js").App} app
 * @param {{x: number, y: number}} place
 * @returns {[number, number] | null}
 */
export function pixel(app, { x, y }) {
  const { width, height } = app.view.image;
  if (x < 0 || y < 0 || x >= width || y >= height) return null;
  return [Math.floor(x) + 0.5, Math.floor(y) + 0.5];
}

/**
 * A line through places of the picture, on the stage.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {import("../app.js").App} app
 * @param {readonly {x: number, y: number}[]} line
 */
export function drawLine(context, app, line) {
  context.beginPath();
  line.forEach((place, index) => {
    const at = app.view.toStage(place.x, place.y);
    if (index) context.lineTo(at.x, at.y);
    else context.moveTo(at.x, at.y);
  });
}
