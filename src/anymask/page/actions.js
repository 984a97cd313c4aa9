// @ts-check
/**
 * Everything one can do, once: the keyboard, the buttons, the help sheet and docs/page.md all read this list.
 *
 * @typedef {object} Action
 * @property {string} id
 * @property {string} group
 * @property {string} label
 * @property {string[]} keys as in "Mod+Z"; Mod is Ctrl, or Command on a Mac. "(...)" is a gesture for the help sheet alone
 * @property {(app: import("./app.js").App) => void} [run]
 */
import { copyCutout, copyMask, download } from "./export.js";
import { find, moved, put, without, COLOURS } from "./state.js";

/** @type {readonly Action[]} */
export const ACTIONS = [
  { id: "open", group: "Pictures", label: "Open pictures", keys: ["O"], run: (app) => app.chooseFiles(false) },
  { id: "folder", group: "Pictures", label: "Open a folder", keys: ["Shift+O"], run: (app) => app.chooseFiles(true) },
  { id: "paste", group: "Pictures", label: "Paste a picture", keys: ["Mod+V"] },
  { id: "previous", group: "Pictures", label: "Previous picture", keys: ["PageUp"], run: (app) => app.pictures.step(-1) },
  { id: "next", group: "Pictures", label: "Next picture", keys: ["PageDown"], run: (app) => app.pictures.step(1) },
  { id: "play", group: "Pictures", label: "Play or stop the film strip", keys: ["D"], run: (app) => app.player.toggle() },

  { id: "point", group: "Tools", label: "Click", keys: ["P"], run: (app) => app.pick("point") },
  { id: "box", group: "Tools", label: "Box", keys: ["B"], run: (app) => app.pick("box") },
  { id: "scribble", group: "Tools", label: "Scribble", keys: ["S"], run: (app) => app.pick("scribble") },
  { id: "lasso", group: "Tools", label: "Lasso", keys: ["L"], run: (app) => app.pick("lasso") },
  { id: "brush", group: "Tools", label: "Brush", keys: ["R"], run: (app) => app.pick("brush") },
  { id: "eraser", group: "Tools", label: "Eraser", keys: ["E"], run: (app) => app.pick("eraser") },
  { id: "everything", group: "Tools", label: "Everything", keys: ["A"], run: (app) => app.pick("everything") },
  { id: "hand", group: "Tools", label: "Move the picture", keys: ["H", "(hold Space)"], run: (app) => app.pick("hand") },
  { id: "away", group: "Tools", label: "Add or take away", keys: ["M", "(hold Alt)", "(right button)"], run: switchAway },
  { id: "smaller", group: "Tools", label: "Smaller brush", keys: ["["], run: (app) => app.set({ brush: app.settings.brush / 1.25 }) },
  { id: "larger", group: "Tools", label: "Larger brush", keys: ["]"], run: (app) => app.set({ brush: app.settings.brush * 1.25 }) },
  { id: "exact", group: "Tools", label: "Lasso: snap or exact", keys: ["Q"], run: (app) => app.set({ exact: !app.settings.exact }) },
  { id: "tidy", group: "Tools", label: "Tidy masks: no specks, no pinholes", keys: ["W"], run: switchTidy },
  { id: "cancel", group: "Tools", label: "Stop, or let go of the object", keys: ["Escape"], run: cancel },

  { id: "undo", group: "Steps", label: "Undo", keys: ["Mod+Z"], run: (app) => app.undo() },
  { id: "redo", group: "Steps", label: "Redo", keys: ["Mod+Shift+Z", "Mod+Y"], run: (app) => app.redo() },
  { id: "candidate", group: "Steps", label: "Next candidate: whole, part, subpart", keys: ["C"], run: (app) => app.choose("next") },
  { id: "candidate1", group: "Steps", label: "First candidate", keys: ["1"], run: (app) => app.choose(0) },
  { id: "candidate2", group: "Steps", label: "Second candidate", keys: ["2"], run: (app) => app.choose(1) },
  { id: "candidate3", group: "Steps", label: "Third candidate", keys: ["3"], run: (app) => app.choose(2) },

  { id: "new", group: "Objects", label: "New object", keys: ["N"], run: (app) => app.newObject() },
  { id: "later", group: "Objects", label: "Next object", keys: ["J"], run: (app) => selectBy(app, 1) },
  { id: "earlier", group: "Objects", label: "Previous object", keys: ["K"], run: (app) => selectBy(app, -1) },
  { id: "raise", group: "Objects", label: "Bring forward", keys: ["Shift+K"], run: (app) => moveBy(app, 1) },
  { id: "lower", group: "Objects", label: "Send back", keys: ["Shift+J"], run: (app) => moveBy(app, -1) },
  { id: "rename", group: "Objects", label: "Rename", keys: ["F2"], run: (app) => app.events.emit("rename") },
  { id: "colour", group: "Objects", label: "Next colour", keys: ["Y"], run: nextColour },
  { id: "hide", group: "Objects", label: "Hide or show", keys: ["V"], run: hide },
  { id: "hideAll", group: "Objects", label: "Hide or show all", keys: ["Shift+V"], run: hideAll },
  { id: "delete", group: "Objects", label: "Delete", keys: ["Delete", "Backspace"], run: remove },
  { id: "panel", group: "Objects", label: "Show or hide the list", keys: ["\\"], run: (app) => app.set({ panel: !app.panelOpen }) },

  { id: "zoomIn", group: "View", label: "Zoom in", keys: ["+", "="], run: (app) => app.view.zoomTo(app.view.scale * 1.4) },
  { id: "zoomOut", group: "View", label: "Zoom out", keys: ["-"], run: (app) => app.view.zoomTo(app.view.scale / 1.4) },
  { id: "fit", group: "View", label: "Show the whole picture", keys: ["F", "0"], run: (app) => app.view.showAll() },
  { id: "actual", group: "View", label: "Pixel for pixel", keys: ["Z"], run: (app) => app.view.zoomTo(1 / app.render.ratio) },
  { id: "fainter", group: "View", label: "Fainter masks", keys: [","], run: (app) => app.set({ opacity: app.settings.opacity - 0.1 }) },
  { id: "stronger", group: "View", label: "Stronger masks", keys: ["."], run: (app) => app.set({ opacity: app.settings.opacity + 0.1 }) },
  { id: "outline", group: "View", label: "Outlines", keys: ["I"], run: (app) => app.set({ outline: !app.settings.outline }) },
  { id: "cutout", group: "View", label: "Cut-out view", keys: ["X"], run: (app) => app.set({ cutout: !app.settings.cutout }) },
  { id: "theme", group: "View", label: "Light or dark", keys: ["T"], run: (app) => app.theme.toggle() },

  { id: "copyCutout", group: "Export", label: "Copy cut-out", keys: ["Mod+C"], run: copyCutout },
  { id: "copyMask", group: "Export", label: "Copy mask", keys: ["Mod+Shift+C"], run: copyMask },
  { id: "saveCoco", group: "Export", label: "COCO JSON", keys: ["Mod+S"], run: (app) => download(app, "coco") },
  { id: "savePng", group: "Export", label: "Mask as PNG", keys: ["Shift+P"], run: (app) => download(app, "png") },
  { id: "saveCutout", group: "Export", label: "Cut-out as PNG", keys: ["Shift+X"], run: (app) => download(app, "cutout") },
  { id: "saveSvg", group: "Export", label: "SVG", keys: ["Shift+S"], run: (app) => download(app, "svg") },

  { id: "settings", group: "Page", label: "Settings", keys: ["G"], run: (app) => app.events.emit("settings-sheet") },
  { id: "help", group: "Page", label: "Keyboard and help", keys: ["?"], run: (app) => app.events.emit("help-sheet") },
  { id: "cursor", group: "Page", label: "Crosshair, with the picture in focus", keys: ["(arrow keys, Shift for one pixel)"] },
  { id: "press", group: "Page", label: "Press at the crosshair", keys: ["(Enter, Alt+Enter takes away)"] },
];

/** @param {string} id */
export function action(id) {
  const found = ACTIONS.find((one) => one.id === id);
  if (!found) throw new RangeError(`no action is called ${id}`);
  return found;
}

/** @param {import("./app.js").App} app */
function switchAway(app) {
  app.set({ away: !app.settings.away });
  app.say(app.settings.away ? "Clicks now take away." : "Clicks now add.");
}

/** @param {import("./app.js").App} app */
function switchTidy(app) {
  app.set({ tidy: !app.settings.tidy });
  app.say(app.settings.tidy ? "From now on masks are tidied." : "From now on masks are as the model gives them.", true);
}

/** @param {import("./app.js").App} app */
function cancel(app) {
  const working = app.pictures.current?.everything;
  if (working?.state === "working") return working.work.abort();
  app.tool.cancel?.();
  if (app.asking.withdrawLast()) return;
  if (app.doc?.selected !== null) app.newObject();
}

/**
 * @param {import("./app.js").App} app
 * @param {number} by
 */
function selectBy(app, by) {
  const things = app.doc?.things ?? [];
  if (!things.length || !app.doc) return;
  const at = things.findIndex((thing) => thing.id === app.doc?.selected);
  const next = things[(at + by + things.length) % things.length] ?? things[0];
  app.select(next.id);
}

/**
 * @param {import("./app.js").App} app
 * @param {number} by
 */
function moveBy(app, by) {
  const { doc } = app;
  if (doc?.selected && doc.things.length > 1) app.commit(by > 0 ? "Bring forward" : "Send back", moved(doc, doc.selected, by));
}

/** @param {import("./app.js").App} app */
function nextColour(app) {
  const thing = app.doc && find(app.doc);
  if (!app.doc || !thing) return;
  const colour = COLOURS[(COLOURS.indexOf(thing.colour) + 1) % COLOURS.length];
  app.commit("Colour", put(app.doc, { ...thing, colour }));
}

/** @param {import("./app.js").App} app */
function hide(app) {
  const thing = app.doc && find(app.doc);
  if (!app.doc || !thing) return;
  app.commit(thing.hidden ? "Show" : "Hide", put(app.doc, { ...thing, hidden: !thing.hidden }));
  app.say(`${thing.name} ${thing.hidden ? "shown" : "hidden"}.`);
}

/** @param {import("./app.js").App} app */
function hideAll(app) {
  if (!app.doc?.things.length) return;
  const hidden = app.doc.things.some((thing) => !thing.hidden);
  app.commit(hidden ? "Hide all" : "Show all", { ...app.doc, things: app.doc.things.map((thing) => ({ ...thing, hidden })) });
}

/** @param {import("./app.js").App} app */
function remove(app) {
  const thing = app.doc && find(app.doc);
  if (!app.doc || !thing) return;
  app.commit("Delete", without(app.doc, thing.id));
  app.say(`${thing.name} deleted. Undo brings it back.`);
}
