// @ts-check
import { boxTool } from "./box.js";
import { brushTool } from "./brush.js";
import { everythingTool } from "./everything.js";
import { lassoTool } from "./lasso.js";
import { pointTool } from "./point.js";
import { scribbleTool } from "./scribble.js";

/** @param {import("../app.js").App} app */
export function allTools(app) {
  return {
    point: pointTool(app),
    box: boxTool(app),
    scribble: scribbleTool(app),
    lasso: lassoTool(app),
    brush: brushTool(app, false),
    eraser: brushTool(app, true),
    everything: everythingTool(app),
    hand: handTool(),
  };
}

/**
 * Moving the picture is the pointer's own work; this tool only stays out of its way.
 *
 * @returns {import("./tool.js").Tool}
 */
function handTool() {
  return { name: "hand", hint: "Drag to move the picture.", marks: true, down() {}, move() {}, up() {} };
}
