// @ts-check
import { toggle } from "./buttons.js";
import { el } from "./dom.js";

const TOOLS = ["point", "box", "scribble", "lasso", "brush", "eraser", "everything", "hand"];

/**
 * The tools: a column beside the picture, a row under the thumb on a phone. Arrow keys walk along it.
 *
 * @param {import("../app.js").App} app
 */
export function toolbar(app) {
  const buttons = TOOLS.map((name) => toggle(app, name, { icon: name, class: "tool" }, () => app.tool.name === name));
  const bar = el("div", {
    class: "island tools needs-picture", role: "toolbar", "aria-label": "Tools", "aria-orientation": "vertical",
    on: {
      keydown: (/** @type {KeyboardEvent} */ event) => {
        const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
        const at = buttons.findIndex((one) => one === event.target);
        if (!by || at < 0) return;
        event.preventDefault();
        buttons[(at + by + buttons.length) % buttons.length].focus();
      },
    },
  }, ...buttons.slice(0, 4), el("hr"), ...buttons.slice(4, 6), el("hr"), ...buttons.slice(6));
  return bar;
}
