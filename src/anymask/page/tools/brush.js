// @ts-check
import { combine } from "../rle.js";
import { find, newThing, put, settled } from "../state.js";
import { strokeMask } from "./strokes.js";

/**
 * The brush paints pixels of the mask, the eraser takes them away: exactly those it covers, no model asked. What is
 * painted or erased stays so through later clicks.
 *
 * @param {import("../app.js").App} app
 * @param {boolean} erases
 * @returns {import("./tool.js").Tool}
 */
export function brushTool(app, erases) {
  /** @type {import("./tool.js").Place[]} */
  let line = [];
  /** @type {import("./tool.js").Place | null} */
  let over = null;
  /** @type {import("../state.js").Thing | null} */
  let before = null;
  /** @type {import("../rle.js").Mask | null} */
  let stroke = null;

  const radius = () => app.settings.brush / 2;

  /** @param {import("./tool.js").Place} place */
  function add(place) {
    const picture = app.pictures.current;
    if (!picture || !before) return;
    line.push(place);
    const piece = strokeMask(picture.size, line.slice(-2), radius());
    stroke = stroke ? combine(stroke, piece, "or") : piece;
    const removes = erases !== place.away;
    const { painted, erased } = before;
    app.preview = settled({
      ...before,
      painted: removes ? painted && combine(painted, stroke, "minus") : painted ? combine(painted, stroke, "or") : stroke,
      erased: removes ? (erased ? combine(erased, stroke, "or") : stroke) : erased && combine(erased, stroke, "minus"),
    });
    app.events.emit("live");
  }

  function clear() {
    line = [];
    before = stroke = null;
    app.preview = null;
    app.events.emit("live");
  }

  return {
    name: erases ? "eraser" : "brush",
    hint: erases
      ? "Rub out exactly what you cover. Alt paints instead."
      : "Paint exactly what you cover. Alt or right button rubs out.",
    option: "size",
    hover(place) {
      over = place;
      app.events.emit("live");
    },
    leave() {
      over = null;
      app.events.emit("live");
    },
    down(place) {
      const picture = app.pictures.current;
      if (!picture) return;
      const known = find(picture.history.doc, app.target());
      if (!known?.mask.area && erases !== place.away) {
        return app.say("Nothing to rub out: pick an object first.", true);
      }
      before = known ?? newThing(app.target(), picture.size);
      over = place;
      add(place);
    },
    move(place) {
      over = place;
      add(place);
    },
    up() {
      const picture = app.pictures.current;
      const made = app.preview;
      const removes = erases !== Boolean(line[0]?.away);
      clear();
      if (!picture || !made) return;
      picture.nextId = Math.max(picture.nextId, made.id + 1);
      const doc = put(picture.history.doc, made);
      app.commit(removes ? "Erase" : "Brush", { ...doc, selected: made.id });
      app.say(`${made.name}: ${made.mask.area} pixels.`);
    },
    cancel: clear,
    draw(context) {
      if (!over) return;
      const at = app.view.toStage(over.x, over.y);
      const size = Math.max(1.5, radius() * app.view.scale);
      for (const [width, colour] of /** @type {const} */ ([[3, "rgb(0 0 0 / 45%)"], [1.5, "#ffffff"]])) {
        context.beginPath();
        context.arc(at.x, at.y, size, 0, 7);
        context.lineWidth = width;
        context.strokeStyle = colour;
        context.stroke();
      }
    },
  };
}
