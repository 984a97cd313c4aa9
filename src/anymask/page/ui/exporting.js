// @ts-check
/** The export button and its menu. */
import { action } from "../actions.js";
import { shown } from "../shortcuts.js";
import { el } from "./dom.js";
import { icon } from "./icons.js";

const ITEMS = ["copyCutout", "copyMask", "", "saveCoco", "savePng", "saveCutout", "saveSvg"];

/** @param {import("../app.js").App} app */
export function exportMenu(app) {
  const opener = el("button", {
    type: "button", class: "button primary", "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": "Export",
    on: { click: () => open(Boolean(menu.hidden)) },
  }, icon("export"), el("span", { text: "Export" }));
  const items = ITEMS.map((id) => {
    if (!id) return el("hr");
    const { label, keys, run } = action(id);
    return el("button", { type: "button", class: "item", role: "menuitem", "data-action": id, on: { click: () => {
      open(false);
      run?.(app);
    } } }, icon(id.startsWith("copy") ? "copy" : "download"), el("span", { text: label }), el("kbd", { text: shown(keys[0]) }));
  });
  const menu = el("div", { class: "island menu", role: "menu", "aria-label": "Export", hidden: true, on: {
    keydown: (/** @type {KeyboardEvent} */ event) => {
      const buttons = /** @type {HTMLElement[]} */ (items.filter((item) => item.tagName === "BUTTON"));
      const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") open(false);
      else if (by) buttons[(buttons.indexOf(/** @type {HTMLElement} */ (event.target)) + by + buttons.length) % buttons.length].focus();
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
  } }, ...items);
  const wrap = el("div", { class: "export needs-picture" }, el("div", { class: "island" }, opener), menu);

  /** @param {boolean} yes */
  function open(yes) {
    if (menu.hidden === !yes) return;
    menu.hidden = !yes;
    opener.setAttribute("aria-expanded", String(yes));
    if (yes) /** @type {HTMLElement} */ (menu.querySelector("button")).focus();
    else if (menu.contains(document.activeElement) || app.root.contains(document.activeElement)) opener.focus();
  }
  app.root.addEventListener("pointerdown", (event) => {
    if (!menu.hidden && !event.composedPath().includes(wrap)) {
      menu.hidden = true;
      opener.setAttribute("aria-expanded", "false");
    }
  }, true);
  return wrap;
}
