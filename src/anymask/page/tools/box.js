// @ts-check
import { within } from "./tool.js";

const SMALLEST = 2; // pixels of the picture

/**
 * Drag a box around a thing.
 *
 * @param {import("../app.js").App} app
 * @returns {import("./tool.js").Tool & {finish: (from: import("./tool.js").Place, to: import("./tool.js").Place) => void}}
 */
export function boxTool(app) {
  /** @type {import("./tool.js").Place | null} */
  let from = null;
  /** @type {import("./tool.js").Place | null} */
  let to = null;
  /** @type {import("./tool.js").Place | null} */
  let over = null;

  /**
   * @param {import("./tool.js").Place} a
   * @param {import("./tool.js").Place} b
   */
  function finish(a, b) {
    const [[ax, ay], [bx, by]] = [within(app, a), within(app, b)];
    const x0 = Math.round(Math.min(ax, bx));
    const y0 = Math.round(Math.min(ay, by));
    const x1 = Math.round(Math.max(ax, bx));
    const y1 = Math.round(Math.max(ay, by));
    if (x1 - x0 < SMALLEST || y1 - y0 < SMALLEST) return app.say("That box is too small: drag from corner to corner.");
    app.asking.ask({ label: "Box", box: [x0, y0, x1, y1], started: b.time });
  }

  return {
    name: "box",
    hint: "Drag from one corner to the other.",
    marks: true,
    finish,
    hover(place) {
      over = place;
      app.events.emit("live");
    },
    leave() {
      over = null;
      app.events.emit("live");
    },
    down(place) {
      from = to = place;
      over = null;
    },
    move(place) {
      to = place;
      app.events.emit("live");
    },
    up(place) {
      if (from) finish(from, place);
      from = to = null;
      app.events.emit("live");
    },
    cancel() {
      from = to = null;
      app.events.emit("live");
    },
    draw(context, render) {
      if (from && to) return render.box(context, [...within(app, from), ...within(app, to)], "#ffffff");
      if (!over) return;
      const at = app.view.toStage(over.x, over.y);
      const { width, height } = app.view.stage;
      context.strokeStyle = "rgb(255 255 255 / 55%)";
      context.lineWidth = 1;
      context.setLineDash([4, 4]);
      context.beginPath();
      context.moveTo(at.x, 0);
      context.lineTo(at.x, height);
      context.moveTo(0, at.y);
      context.lineTo(width, at.y);
      context.stroke();
      context.setLineDash([]);
    },
  };
}
