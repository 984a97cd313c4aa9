// @ts-check
import { pixel, within } from "./tool.js";

const DRAG = 7; // CSS pixels from which a press is a box

/**
 * Click to add, right-click or Alt-click to take away; dragging makes a box.
 *
 * @param {import("../app.js").App} app
 * @returns {import("./tool.js").Tool}
 */
export function pointTool(app) {
  /** @type {import("./tool.js").Place | null} */
  let from = null;
  /** @type {import("./tool.js").Place | null} */
  let to = null;
  /** @type {import("../asking.js").Click | null} */
  let asked = null;

  /** @param {import("./tool.js").Place} place */
  function ask(place) {
    const at = pixel(app, place);
    if (!at) return null;
    const label = place.away ? "Click away" : "Click";
    return app.asking.ask({ label, points: [at], labels: [place.away ? 0 : 1], started: place.time });
  }

  return {
    name: "point",
    hint: "Click what you want. Right-click or Alt-click takes away; drag makes a box.",
    marks: true,
    taps: true,
    hover(place) {
      app.asking.hover(pixel(app, place) ? place : null);
    },
    leave() {
      app.asking.hover(null);
    },
    down(place) {
      from = place;
      to = null;
      // asked at once: most presses stay clicks, and those that become a box are taken back
      asked = place.touch ? null : ask(place);
    },
    move(place) {
      if (!from) return;
      const far = Math.hypot(place.x - from.x, place.y - from.y) * app.view.scale;
      if (!to && far < DRAG) return;
      if (asked) app.asking.withdraw(asked);
      asked = null;
      to = place;
      app.events.emit("live");
    },
    up(place) {
      if (from && to) app.tools.box.finish?.(from, place);
      else if (from && from.touch) ask(from);
      from = to = asked = null;
      app.events.emit("live");
    },
    cancel() {
      if (asked) app.asking.withdraw(asked);
      from = to = asked = null;
      app.events.emit("live");
    },
    draw(context, render) {
      if (from && to) render.box(context, [...within(app, from), ...within(app, to)], "#ffffff");
    },
  };
}
