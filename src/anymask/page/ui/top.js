// @ts-check
/** The bar at the top: what is open and how ready it is, steps, zoom, view and export. */
import { button, toggle } from "./buttons.js";
import { el } from "./dom.js";
import { exportMenu } from "./exporting.js";
import { icon } from "./icons.js";

/** @param {import("../app.js").App} app */
export function topBar(app) {
  const name = el("span", { class: "name" });
  const bar = el("span", { class: "bar" }, el("i"));
  const fill = /** @type {HTMLElement} */ (bar.firstChild);
  const said = el("span", { class: "said" });
  const again = el("button", { class: "link", text: "Try again", hidden: true, on: { click: () => app.pictures.again() } });
  const state = el("span", { class: "state" }, said, bar, again);
  const undo = button(app, "undo", { icon: "undo" });
  const redo = button(app, "redo", { icon: "redo" });
  const percent = button(app, "fit", { text: "100 %", class: "percent" });

  app.events.on("picture pictures state", () => {
    const picture = app.pictures.current;
    name.textContent = picture?.name ?? "";
    const texts = { new: "", opening: "Opening", encoding: "Preparing", ready: "Ready", failed: picture?.error ?? "" };
    state.dataset.state = picture?.state ?? "none";
    said.textContent = picture ? texts[picture.state] : "";
    const known = typeof picture?.progress === "number";
    bar.classList.toggle("unknown", !known);
    fill.style.width = known ? `${Math.round(100 * /** @type {number} */ (picture?.progress))}%` : "";
    again.hidden = picture?.state !== "failed";
    if (known && picture?.state === "encoding") said.textContent = `Preparing ${fill.style.width.replace("%", " %")}`;
  });
  app.events.on("doc picture waiting", () => {
    const history = app.pictures.current?.history;
    const waits = app.asking.waiting.length > 0;
    undo.disabled = !history?.canUndo && !waits;
    redo.disabled = !history?.canRedo;
    undo.dataset.what = history?.undoLabel ?? "";
  });
  app.events.on("view", () => {
    percent.textContent = `${Math.round(app.view.scale * 100)} %`;
  });

  return el("header", { class: "top" },
    el("div", { class: "island brand" },
      el("span", { class: "mark" }, icon("outline")), el("h1", { text: "anymask" }),
      el("span", { class: "file" }, name, state)),
    el("div", { class: "island steps needs-picture" }, undo, redo),
    el("div", { class: "island zoom needs-picture" },
      button(app, "zoomOut", { icon: "minus" }), percent, button(app, "zoomIn", { icon: "plus" })),
    el("div", { class: "island looks" },
      toggle(app, "cutout", { icon: "cutout", class: "needs-picture" }, () => app.settings.cutout),
      toggle(app, "outline", { icon: "outline", class: "needs-picture" }, () => app.settings.outline),
      button(app, "theme", { icon: "moon", class: "theme" }),
      button(app, "settings", { icon: "settings" }),
      button(app, "help", { icon: "help" })),
    exportMenu(app));
}
