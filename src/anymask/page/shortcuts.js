// @ts-check
/** Keys pressed anywhere in the app, matched against the list of actions. */
import { ACTIONS } from "./actions.js";

export const MAC = /Mac|iPhone|iPad/.test(navigator.platform);

/**
 * @param {import("./app.js").App} app
 * @param {EventTarget} target the window for a whole page, the root element where other things are beside it
 */
export function listen(app, target) {
  /** @type {Map<string, import("./actions.js").Action>} */
  const byKey = new Map();
  for (const action of ACTIONS) for (const key of action.keys) if (action.run) byKey.set(key, action);

  target.addEventListener("keydown", (given) => {
    const event = /** @type {KeyboardEvent} */ (given);
    if (event.defaultPrevented || event.isComposing || app.root.querySelector("dialog[open]")) return;
    const on = /** @type {HTMLElement | null} */ (event.composedPath()[0] ?? null);
    if (on?.matches?.("input:not([type=range]), textarea, select")) return;
    if (event.key === " " && (on === app.stage || on === app.root || on?.tagName === "BODY")) {
      event.preventDefault();
      app.pointer.space = true;
      return;
    }
    const action = byKey.get(name(event));
    // words selected with the mouse are copied as words
    if (!action?.run || (action.id === "copyCutout" && String(getSelection() ?? ""))) return;
    event.preventDefault();
    action.run(app);
  });
  target.addEventListener("keydown", (event) => app.setAway(/** @type {KeyboardEvent} */ (event).altKey));
  target.addEventListener("keyup", (given) => {
    const event = /** @type {KeyboardEvent} */ (given);
    app.setAway(event.altKey);
    if (event.key === " ") app.pointer.space = false;
    // Alt alone would open the browser's menu
    if (event.key === "Alt") event.preventDefault();
  });
}

/** @param {KeyboardEvent} event */
function name(event) {
  const mod = MAC ? event.metaKey : event.ctrlKey;
  if (event.altKey || (MAC ? event.ctrlKey : event.metaKey)) return "";
  const letter = event.key.length === 1 ? event.key.toUpperCase() : event.key;
  const shift = event.shiftKey && (/^[A-Z]$/.test(letter) || event.key.length > 1);
  return `${mod ? "Mod+" : ""}${shift ? "Shift+" : ""}${letter}`;
}

/**
 * A key as people read it on their keyboard.
 *
 * @param {string} key
 */
export function shown(key) {
  if (key.startsWith("(")) return key.slice(1, -1);
  const words = /** @type {Record<string, string>} */ ({
    Mod: MAC ? "⌘" : "Ctrl", Shift: MAC ? "⇧" : "Shift", Escape: "Esc", PageUp: "Page Up", PageDown: "Page Down", "-": "−",
  });
  return key.split(/\+(?!$)/).map((part) => words[part] ?? part).join(MAC ? "" : "+");
}
