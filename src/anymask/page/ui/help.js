// @ts-check
/** The help sheet: every action with its keys, from the same list as everything else. */
import { ACTIONS } from "../actions.js";
import { shown } from "../shortcuts.js";
import { el } from "./dom.js";
import { sheet } from "./sheet.js";

/** @param {import("../app.js").App} app */
export function helpSheet(app) {
  const groups = [...new Set(ACTIONS.map((action) => action.group))];
  const body = el("div", { class: "help" }, ...groups.map((group) =>
    el("section", {}, el("h3", { text: group }), el("dl", {}, ...ACTIONS.filter((action) => action.group === group).map((action) =>
      el("div", {}, el("dt", { text: action.label }), el("dd", {}, ...action.keys.map((key) => el("kbd", { text: shown(key) })))))))));
  const touch = el("p", { class: "fine", text:
    "Touch: tap adds, a long press takes away, two fingers move and zoom. Mouse: the wheel zooms, the middle button moves the picture." });
  return sheet(app, "help-sheet", "Keyboard and help", body, touch);
}
