// @ts-check
import { el } from "./dom.js";
import { icon } from "./icons.js";

/**
 * A sheet over the page that an event opens; Escape, its button or a press beside it closes it.
 *
 * @param {import("../app.js").App} app
 * @param {string} event
 * @param {string} title
 * @param {...Node} content
 */
export function sheet(app, event, title, ...content) {
  const close = el("button", { type: "button", class: "button", "aria-label": "Close", on: { click: () => dialog.close() } }, icon("close"));
  const dialog = el("dialog", { class: `sheet ${event}`, "aria-label": title, on: {
    click: (/** @type {MouseEvent} */ given) => given.target === dialog && dialog.close(),
    close: () => app.stage.focus({ preventScroll: true }),
  } }, el("div", { class: "inner" }, el("div", { class: "heading" }, el("h2", { text: title }), close), ...content));
  app.events.on(event, () => (dialog.open ? dialog.close() : dialog.showModal()));
  return dialog;
}
