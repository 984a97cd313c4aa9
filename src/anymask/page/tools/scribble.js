// @ts-check
import { drawLine, pixel } from "./tool.js";
import { spread } from "./strokes.js";

const MOST = 9; // points of one scribble: enough to say where, few enough that a decoder trained on clicks follows

/**
 * Scribble over a thing, roughly; the model gets points along the line.
 *
 * @param {import("../app.js").App} app
 * @returns {import("./tool.js").Tool}
 */
export function scribbleTool(app) {
  /** @type {import("./tool.js").Place[]} */
  let line = [];

  return {
    name: "scribble",
    hint: "Scribble over the thing, roughly. Alt or right button: over what does not belong.",
    marks: true,
    hover(place) {
      app.asking.hover(pixel(app, place) ? place : null);
    },
    leave() {
      app.asking.hover(null);
    },
    down(place) {
      line = [place];
      app.asking.hover(null);
    },
    move(place) {
      line.push(place);
      app.events.emit("live");
    },
    up(place) {
      line.push(place);
      const points = spread(line, MOST).map((at) => pixel(app, at)).filter((at) => at !== null);
      const label = line[0].away ? 0 : 1;
      line = [];
      app.events.emit("live");
      if (!points.length) return;
      app.asking.ask({
        label: label ? "Scribble" : "Scribble away", points, labels: points.map(() => label), started: place.time,
      });
    },
    cancel() {
      line = [];
      app.events.emit("live");
    },
    draw(context) {
      if (line.length < 2) return;
      context.lineCap = context.lineJoin = "round";
      drawLine(context, app, line);
      context.lineWidth = 9;
      context.strokeStyle = "rgb(255 255 255 / 85%)";
      context.stroke();
      context.lineWidth = 5;
      context.strokeStyle = line[0].away ? "#e5395a" : "#18a957";
      context.stroke();
    },
  };
}
