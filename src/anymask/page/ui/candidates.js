// @ts-check
/** Small pictures of the candidates beside the object: whole, part, subpart, whatever the model offers. */
import { bitsOf } from "../rle.js";
import { rgb, stepFor } from "../canvas/shapes.js";
import { find } from "../state.js";
import { afterPaint } from "./after.js";
import { el, pressed } from "./dom.js";

const SIDE = 52; // CSS pixels
const GAP = 18;

/** @param {import("../app.js").App} app */
export function candidates(app) {
  const box = el("div", { class: "island candidates", role: "group", "aria-label": "Candidates", hidden: true });
  /** @type {readonly import("../wire.js").Found[] | null} */
  let drawn = null;
  /** @type {string} */
  let drawnFor = "";

  /** @param {boolean} quick only what costs nothing: to hide, to mark another one as chosen */
  function show(quick) {
    const picture = app.pictures.current;
    const thing = app.doc && find(app.doc);
    const many = thing && !thing.hidden && thing.candidates.length > 1 && app.tool.marks && picture?.bitmap;
    box.hidden = !many;
    if (!many || !picture?.bitmap) return;
    if (drawn !== thing.candidates || drawnFor !== thing.colour) {
      if (quick) return void (box.hidden = true);
      drawn = thing.candidates;
      drawnFor = thing.colour;
      const offered = thing.candidates.slice(0, 4);
      const frame = joint(offered.map((one) => one.mask));
      box.replaceChildren(...offered.map((one, index) => el("button", {
        type: "button", class: "candidate", "aria-label": `Candidate ${index + 1} of ${offered.length}`,
        "data-tip": `Candidate ${index + 1}  ${index < 3 ? index + 1 : "C"}`, on: { click: () => app.choose(index) },
      }, small(picture, one.mask, frame, thing.colour))), el("kbd", { text: "C", "aria-hidden": "true" }));
    }
    [...box.querySelectorAll("button")].forEach((one, index) => pressed(one, "aria-pressed", index === thing.chosen));
    place(thing);
  }

  /** @param {import("../state.js").Thing} thing */
  function place(thing) {
    const { view } = app;
    // beside all of the candidates: the next click is likely to be on one of them
    const boxes = [thing.mask, ...thing.candidates.map((one) => one.mask)].filter((mask) => mask.area).map((mask) => mask.box);
    if (!boxes.length) return;
    const a = view.toStage(Math.min(...boxes.map((one) => one[0])), Math.min(...boxes.map((one) => one[1])));
    const b = view.toStage(Math.max(...boxes.map((one) => one[0] + one[2])), Math.max(...boxes.map((one) => one[1] + one[3])));
    const { room } = view;
    const { offsetWidth: width, offsetHeight: height } = box;
    const [right, bottom] = [room.x + room.width, room.y + room.height];
    const middle = { left: (a.x + b.x - width) / 2, top: (a.y + b.y - height) / 2 };
    const places = [
      { left: b.x + GAP, top: middle.top }, { left: a.x - GAP - width, top: middle.top },
      { left: middle.left, top: b.y + GAP }, { left: middle.left, top: a.y - GAP - height },
    ];
    const fits = (/** @type {{left: number, top: number}} */ one) =>
      one.left >= room.x - 1 && one.top >= room.y - 1 && one.left + width <= right + 1 && one.top + height <= bottom + 1;
    const place = places.find(fits) ?? { left: right - width, top: bottom - height };
    const left = Math.max(room.x, Math.min(right - width, place.left));
    const top = Math.max(room.y, Math.min(bottom - height, place.top));
    box.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  const shown = afterPaint(app, () => show(false));
  app.events.on("doc picture tool settings drawn", () => {
    if (!box.hidden) show(true);
    shown();
  });
  app.events.on("view", () => {
    const thing = app.doc && find(app.doc);
    if (!box.hidden && thing) place(thing);
  });
  return box;
}

/** @param {readonly import("../rle.js").Mask[]} masks */
function joint(masks) {
  const boxes = masks.filter((mask) => mask.area).map((mask) => mask.box);
  const x0 = Math.min(...boxes.map((box) => box[0]));
  const y0 = Math.min(...boxes.map((box) => box[1]));
  const x1 = Math.max(...boxes.map((box) => box[0] + box[2]));
  const y1 = Math.max(...boxes.map((box) => box[1] + box[3]));
  const side = Math.max(x1 - x0, y1 - y0) * 1.12;
  return { x: (x0 + x1 - side) / 2, y: (y0 + y1 - side) / 2, side };
}

/**
 * @param {import("../pictures.js").Picture} picture
 * @param {import("../rle.js").Mask} mask
 * @param {{x: number, y: number, side: number}} frame
 * @param {string} colour
 */
function small(picture, mask, frame, colour) {
  const sharp = 2;
  const canvas = el("canvas", { width: SIDE * sharp, height: SIDE * sharp, "aria-hidden": "true" });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const scale = (SIDE * sharp) / frame.side;
  context.imageSmoothingQuality = "medium";
  context.drawImage(/** @type {ImageBitmap} */ (picture.bitmap), frame.x, frame.y, frame.side, frame.side, 0, 0, canvas.width, canvas.height);
  context.fillStyle = "rgb(0 0 0 / 45%)";
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (!mask.area) return canvas;
  const step = stepFor(scale);
  const { x, y, w, h, data } = bitsOf(mask, step);
  const tint = document.createElement("canvas");
  [tint.width, tint.height] = [w, h];
  const inner = /** @type {CanvasRenderingContext2D} */ (tint.getContext("2d"));
  const pixels = inner.createImageData(w, h);
  const [red, green, blue] = rgb(colour);
  const value = (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
  const words = new Uint32Array(pixels.data.buffer);
  for (let i = 0; i < data.length; i++) if (data[i]) words[i] = value;
  inner.putImageData(pixels, 0, 0);
  context.globalAlpha = 0.85;
  context.drawImage(tint, (x * step - frame.x) * scale, (y * step - frame.y) * scale, w * step * scale, h * step * scale);
  return canvas;
}
