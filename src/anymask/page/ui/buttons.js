// @ts-check
/** Buttons that do an action of the list, named and explained from it. */
import { action } from "../actions.js";
import { shown } from "../shortcuts.js";
import { el, pressed } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @typedef {{icon?: string, text?: string, class?: string, tip?: string}} Look
 */

/**
 * @param {import("../app.js").App} app
 * @param {string} id of the action
 * @param {Look} look
 */
export function button(app, id, look) {
  const { label, keys, run } = action(id);
  const key = keys[0] && !keys[0].startsWith("(") ? shown(keys[0]) : "";
  return el("button", {
    type: "button", class: `button ${look.class ?? ""}`, "aria-label": label, "data-action": id,
    "data-tip": key ? `${label}  ${key}` : label,
    "aria-keyshortcuts": keys[0] && !keys[0].startsWith("(") ? keys[0].replace("Mod", "Control") : null,
    on: { click: () => run?.(app) },
  }, look.icon && icon(look.icon), look.text && el("span", { text: look.text }));
}

/**
 * A button that stays pressed while something is so.
 *
 * @param {import("../app.js").App} app
 * @param {string} id
 * @param {Look} look
 * @param {() => boolean} on
 */
export function toggle(app, id, look, on) {
  const made = button(app, id, look);
  const show = () => pressed(made, "aria-pressed", on());
  app.events.on("settings tool away picture", show);
  show();
  return made;
}
