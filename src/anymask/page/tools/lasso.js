// @ts-check
import { around } from "../asking.js";
import { combine } from "../rle.js";
import { find, newThing, put, settled } from "../state.js";
import { loopMask } from "./strokes.js";
import { drawLine, within } from "./tool.js";

/**
 * Draw around a thing. Snapping, the model finds the thing inside the line; exact, the line is the mask's edge.
 *
 * @param {import("../app.js").App} app
 * @returns {import("./tool.js").Tool}
 */
export function lassoTool(app) {
  /** @type {import("./tool.js").Place[]} */
  let line = [];

  /**
   * @param {import("../rle.js").Mask} mask
   * @param {boolean} away
   */
  function exactly(mask, away) {
    const picture = app.pictures.current;
    if (!picture) return;
    const id = app.target();
    const before = find(picture.history.doc, id) ?? newThing(id, picture.size);
    const { painted, erased } = before;
    const made = settled({
      ...before,
      painted: away ? painted && combine(painted, mask, "minus") : painted ? combine(painted, mask, "or") : mask,
      erased: away ? (erased ? combine(erased, mask, "or") : mask) : erased && combine(erased, mask, "minus"),
    });
    picture.nextId = Math.max(picture.nextId, id + 1);
    app.commit(away ? "Lasso away" : "Lasso", { ...put(picture.history.doc, made), selected: id });
    app.say(`${made.name}: ${made.mask.area} pixels.`);
  }

  return {
    name: "lasso",
    hint: "Draw around the thing. Alt or right button takes the inside away.",
    marks: true,
    option: "mode",
    down(place) {
      line = [place];
    },
    move(place) {
      line.push(place);
      app.events.emit("live");
    },
    up(place) {
      const picture = app.pictures.current;
      const loop = line.map((at) => within(app, at)).map(([x, y]) => ({ x, y }));
      const away = Boolean(line[0]?.away);
      line = [];
      app.events.emit("live");
      if (!picture || loop.length < 3) return;
      const mask = loopMask(picture.size, loop);
      if (mask.area < 4) return app.say("That loop is too small: draw around the thing.");
      if (away || app.settings.exact) return exactly(mask, away);
      app.asking.ask({ label: "Lasso", mask, box: around(mask), started: place.time });
    },
    cancel() {
      line = [];
      app.events.emit("live");
    },
    draw(context) {
      if (line.length < 2) return;
      drawLine(context, app, line);
      context.closePath();
      context.fillStyle = line[0].away ? "rgb(229 57 90 / 16%)" : "rgb(255 255 255 / 14%)";
      context.fill();
      context.lineJoin = "round";
      context.lineWidth = 3.5;
      context.strokeStyle = "rgb(0 0 0 / 50%)";
      context.stroke();
      context.setLineDash([6, 4]);
      context.lineWidth = 1.8;
      context.strokeStyle = "#ffffff";
      context.stroke();
      context.setLineDash([]);
    },
  };
}
