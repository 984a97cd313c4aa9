// @ts-check
/** The bar under the picture: add or take away, what the tool in hand can be set to, and how the work goes. */
import { button, toggle } from "./buttons.js";
import { el, pressed } from "./dom.js";
import { icon } from "./icons.js";

/** @param {import("../app.js").App} app */
export function optionsBar(app) {
  const add = el("button", { type: "button", class: "button", "aria-label": "Add", on: { click: () => app.set({ away: false }) } }, icon("plus"), el("span", { text: "Add" }));
  const away = el("button", { type: "button", class: "button away", "aria-label": "Take away", on: { click: () => app.set({ away: true }) } }, icon("minus"), el("span", { text: "Take away" }));
  add.setAttribute("data-tip", "Clicks add  M");
  away.setAttribute("data-tip", "Clicks take away  M");
  const sign = el("div", { class: "choice", role: "group", "aria-label": "What clicks do" }, add, away);

  const size = el("input", { type: "range", min: 0, max: 100, "aria-label": "Brush size", on: {
    input: () => app.set({ brush: 400 ** (Number(size.value) / 100) }),
  } });
  const pixels = el("output", { class: "figure" });
  const sizes = el("label", { class: "slider" }, el("span", { text: "Size" }), size, pixels);

  const snap = el("button", { type: "button", class: "button", text: "Snap to the thing", on: { click: () => app.set({ exact: false }) } });
  const exact = el("button", { type: "button", class: "button", text: "Exactly the line", on: { click: () => app.set({ exact: true }) } });
  const mode = el("div", { class: "choice", role: "group", "aria-label": "Lasso" }, snap, exact);

  const count = el("span", { class: "figure" });
  const bar = el("span", { class: "bar", role: "progressbar", "aria-label": "Looking for everything" }, el("i"));
  const stop = el("button", { type: "button", class: "button", on: { click: () => app.pictures.current?.everything?.work.abort() } }, icon("stop"), el("span", { text: "Stop" }));
  const everything = el("div", { class: "progress" }, count, bar, stop);

  const fresh = button(app, "new", { icon: "fresh", text: "New object", class: "fresh" });
  const hint = el("span", { class: "hint" });
  const box = el("div", { class: "island options needs-picture" }, sign, sizes, mode, everything, fresh, hint);

  const show = () => {
    const { tool, settings } = app;
    const found = app.pictures.current?.everything;
    sign.hidden = tool.name === "everything" || tool.name === "hand";
    pressed(add, "aria-pressed", !app.takesAway);
    pressed(away, "aria-pressed", app.takesAway);
    sizes.hidden = tool.option !== "size";
    size.value = String((100 * Math.log(settings.brush)) / Math.log(400));
    pixels.textContent = `${settings.brush} px`;
    mode.hidden = tool.option !== "mode";
    pressed(snap, "aria-pressed", !settings.exact);
    pressed(exact, "aria-pressed", settings.exact);
    everything.hidden = tool.option !== "everything" || !found;
    const known = found && found.progress !== null;
    bar.classList.toggle("unknown", !known);
    bar.hidden = stop.hidden = found?.state !== "working";
    /** @type {HTMLElement} */ (bar.firstChild).style.width = known ? `${Math.round(100 * /** @type {number} */ (found.progress))}%` : "";
    if (known) bar.setAttribute("aria-valuenow", String(Math.round(100 * /** @type {number} */ (found.progress))));
    count.textContent = found?.state === "done" ? `${found.masks.length} masks` : found?.message || "Looking everywhere";
    fresh.hidden = app.doc?.selected == null || tool.name === "everything" || tool.name === "hand";
    hint.textContent = tool.hint;
    hint.hidden = tool.name === "everything" && found?.state !== "done";
  };
  app.events.on("tool settings away everything picture doc", show);
  show();
  return box;
}
