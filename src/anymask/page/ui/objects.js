// @ts-check
/** The list of objects: names, colours, order, hidden or shown. The topmost comes first. */
import { COLOURS, find, moved, put, without } from "../state.js";
import { afterPaint } from "./after.js";
import { button } from "./buttons.js";
import { el, pressed } from "./dom.js";
import { icon } from "./icons.js";

/** @param {import("../app.js").App} app */
export function objects(app) {
  const list = el("ul", { class: "things", "aria-label": "Objects" });
  const empty = el("p", { class: "none", text: "Each thing you click becomes an object here." });
  const count = el("span", { class: "count" });
  const opacity = el("input", { type: "range", min: 0, max: 100, "aria-label": "Opacity of masks", on: {
    input: () => app.set({ opacity: Number(opacity.value) / 100 }),
  } });
  const figure = el("output", { class: "figure" });
  const panel = el("aside", { class: "island objects needs-picture", "aria-label": "Objects" },
    el("div", { class: "heading" }, el("h2", { text: "Objects" }), count, el("span", { class: "gap" }),
      button(app, "hideAll", { icon: "eye" }), button(app, "new", { icon: "fresh" }),
      button(app, "panel", { icon: "down", class: "shut" })),
    list, empty,
    el("label", { class: "slider" }, el("span", { text: "Opacity" }), opacity, figure));

  const show = () => {
    const doc = app.doc;
    const things = doc ? [...doc.things].reverse() : [];
    // while a name is being typed its row stays as it is
    if (list.contains(focused(list)) && focused(list)?.matches("input")) return;
    const before = focused(list)?.closest("li")?.dataset.id;
    const which = /** @type {HTMLElement | null} */ (focused(list))?.dataset.part;
    list.replaceChildren(...things.map((thing) => row(app, thing)));
    if (before) /** @type {HTMLElement | null} */ (list.querySelector(`[data-id="${before}"] [data-part="${which}"]`))?.focus();
    empty.hidden = things.length > 0;
    count.textContent = things.length ? String(things.length) : "";
    panel.classList.toggle("open", app.panelOpen);
    opacity.value = String(Math.round(app.settings.opacity * 100));
    figure.textContent = `${opacity.value} %`;
  };
  app.events.on("picture settings", show);
  app.events.on("doc", afterPaint(app, show));
  app.events.on("rename", () => {
    const id = app.doc?.selected;
    if (id != null) list.querySelector(`[data-id="${id}"]`)?.dispatchEvent(new CustomEvent("rename"));
  });
  show();
  return panel;
}

/** @param {Node} inside */
function focused(inside) {
  return /** @type {Document} */ (inside.getRootNode()).activeElement ?? null;
}

/**
 * @param {import("../app.js").App} app
 * @param {import("../state.js").Thing} thing
 */
function row(app, thing) {
  const selected = app.doc?.selected === thing.id;
  const swatch = el("button", {
    type: "button", class: "swatch", "data-part": "colour", "aria-label": `Colour of ${thing.name}`, "data-tip": "Colour  Y",
    on: { click: () => {
      const colour = COLOURS[(COLOURS.indexOf(thing.colour) + 1) % COLOURS.length];
      change("Colour", { colour });
    } },
  });
  swatch.style.setProperty("--colour", thing.colour);
  const name = el("button", { type: "button", class: "title", text: thing.name, "data-part": "name", "aria-label": `Select ${thing.name}`, on: {
    click: () => app.select(thing.id),
    dblclick: () => edit(),
  } });
  pressed(name, "aria-pressed", selected);
  const share = thing.mask.area / (thing.mask.size[0] * thing.mask.size[1]);
  const area = el("span", { class: "area", text: `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %` });
  const eye = tool(thing.hidden ? "closed" : "eye", thing.hidden ? `Show ${thing.name}` : `Hide ${thing.name}`, "eye", () =>
    change(thing.hidden ? "Show" : "Hide", { hidden: !thing.hidden }));
  const up = tool("up", `Bring ${thing.name} forward`, "up", () => app.doc && app.commit("Bring forward", moved(app.doc, thing.id, 1)));
  const down = tool("down", `Send ${thing.name} back`, "down", () => app.doc && app.commit("Send back", moved(app.doc, thing.id, -1)));
  const away = tool("trash", `Delete ${thing.name}`, "delete", () => {
    if (app.doc) app.commit("Delete", without(app.doc, thing.id));
    app.say(`${thing.name} deleted. Undo brings it back.`);
  });
  const item = el("li", { class: `thing ${selected ? "selected" : ""} ${thing.hidden ? "hidden-thing" : ""}`, "data-id": thing.id, on: { rename: () => edit() } },
    swatch, name, area, el("span", { class: "more" }, up, down, away), eye);

  /**
   * @param {string} label
   * @param {Partial<import("../state.js").Thing>} some
   */
  function change(label, some) {
    const now = app.doc && find(app.doc, thing.id);
    if (app.doc && now) app.commit(label, put(app.doc, { ...now, ...some }));
  }

  function edit() {
    const field = el("input", { class: "title", type: "text", value: thing.name, maxlength: 80, "aria-label": "Name", "data-part": "name" });
    let done = false;
    const finish = (/** @type {boolean} */ keep) => {
      if (done) return;
      done = true;
      const text = field.value.trim();
      field.replaceWith(name);
      if (keep && text && text !== thing.name) change("Rename", { name: text });
      name.focus();
    };
    field.addEventListener("blur", () => finish(true));
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") finish(true);
      if (event.key === "Escape") finish(false);
      event.stopPropagation();
    });
    name.replaceWith(field);
    field.focus();
    field.select();
  }
  return item;
}

/**
 * @param {string} image
 * @param {string} label
 * @param {string} part
 * @param {() => void} click
 */
function tool(image, label, part, click) {
  return el("button", { type: "button", class: "button small", "aria-label": label, "data-part": part, on: { click } }, icon(image));
}
