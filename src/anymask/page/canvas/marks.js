// @ts-check
/**
 * What is drawn over and under picture and masks: clicks, the keyboard's crosshair, the grid of pixels, the checkers of
 * what is cut away.
 *
 * @typedef {{x: number, y: number}} At in CSS pixels of the stage
 */

/**
 * A click: a plus inside, a minus outside.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {At} at
 * @param {boolean} inside
 */
export function click(context, at, inside) {
  context.beginPath();
  context.arc(at.x, at.y, 6.5, 0, 7);
  context.fillStyle = inside ? "#18a957" : "#e5395a";
  context.fill();
  context.lineWidth = 2;
  context.strokeStyle = "#ffffff";
  context.stroke();
  context.beginPath();
  context.moveTo(at.x - 2.8, at.y);
  context.lineTo(at.x + 2.8, at.y);
  if (inside) {
    context.moveTo(at.x, at.y - 2.8);
    context.lineTo(at.x, at.y + 2.8);
  }
  context.lineWidth = 1.6;
  context.stroke();
}

/**
 * A ring that grows around a click that waits.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {At} at
 */
export function pulse(context, at) {
  const beat = (performance.now() % 900) / 900;
  context.beginPath();
  context.arc(at.x, at.y, 6 + 9 * beat, 0, 7);
  context.strokeStyle = `rgb(255 255 255 / ${1 - beat})`;
  context.lineWidth = 2;
  context.stroke();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {At} at
 */
export function crosshair(context, at) {
  for (const [width, colour] of /** @type {const} */ ([[4, "rgb(0 0 0 / 55%)"], [1.8, "#ffffff"]])) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(at.x + dx * 5, at.y + dy * 5);
      context.lineTo(at.x + dx * 15, at.y + dy * 15);
    }
    context.stroke();
  }
}

/**
 * Lines between the picture's pixels.
 *
 * @param {CanvasRenderingContext2D} context in screen pixels
 * @param {import("./viewport.js").Viewport} view
 * @param {number} ratio screen pixels for a CSS pixel
 */
export function grid(context, view, ratio) {
  const { image } = view;
  const density = view.scale * ratio;
  const from = view.toImage(0, 0);
  const to = view.toImage(view.stage.width, view.stage.height);
  context.strokeStyle = "rgb(128 128 128 / 35%)";
  context.lineWidth = 1;
  context.beginPath();
  const top = Math.max(0, view.y * ratio);
  const bottom = Math.min(context.canvas.height, (view.y + image.height * view.scale) * ratio);
  const left = Math.max(0, view.x * ratio);
  const right = Math.min(context.canvas.width, (view.x + image.width * view.scale) * ratio);
  for (let x = Math.max(0, Math.ceil(from.x)); x <= Math.min(image.width, to.x); x++) {
    const at = Math.round(view.x * ratio + x * density) + 0.5;
    context.moveTo(at, top);
    context.lineTo(at, bottom);
  }
  for (let y = Math.max(0, Math.ceil(from.y)); y <= Math.min(image.height, to.y); y++) {
    const at = Math.round(view.y * ratio + y * density) + 0.5;
    context.moveTo(left, at);
    context.lineTo(right, at);
  }
  context.stroke();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {boolean} dark
 * @param {number} ratio screen pixels for a CSS pixel
 */
export function checkers(context, dark, ratio) {
  const tile = document.createElement("canvas");
  const side = Math.round(9 * ratio);
  tile.width = tile.height = 2 * side;
  const inner = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
  inner.fillStyle = dark ? "#2a2d33" : "#ffffff";
  inner.fillRect(0, 0, 2 * side, 2 * side);
  inner.fillStyle = dark ? "#363a41" : "#e3e5e9";
  inner.fillRect(0, 0, side, side);
  inner.fillRect(side, side, side, side);
  return /** @type {CanvasPattern} */ (context.createPattern(tile, "repeat"));
}
