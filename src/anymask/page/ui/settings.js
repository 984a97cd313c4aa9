// @ts-check
/** The settings sheet: model, where masks are computed, scrolling, theme. */
import { el } from "./dom.js";
import { sheet } from "./sheet.js";

/** @param {import("../app.js").App} app */
export function settingsSheet(app) {
  const model = el("select", { on: { change: () => app.set({ model: model.value }) } });
  const licence = el("small", {});
  const decoder = choice(app, "decoder", [
    ["auto", "Whichever is faster"], ["server", "On the server"], ["browser", "In this browser"],
  ]);
  const measured = el("small", {});
  const tidy = el("input", { type: "checkbox", on: { change: () => app.set({ tidy: tidy.checked }) } });
  const scrolling = choice(app, "scrolling", [
    ["auto", "Wheel zooms, touch pad moves"], ["zoom", "Zooms"], ["move", "Moves the picture"],
  ]);
  const theme = choice(app, "theme", [["system", "As the system"], ["light", "Light"], ["dark", "Dark"]]);
  const body = el("div", { class: "settings" },
    field("Model", model, licence), field("Masks are computed", decoder, measured),
    el("label", { class: "field check" }, tidy, el("span", { text: "Tidy masks" }), el("small", { text: "Removes specks and pinholes; clicked ones stay" })),
    field("Scrolling", scrolling), field("Look", theme));

  const show = () => {
    const { status, settings, decoders } = app;
    if (status) {
      if (model.options.length !== status.models.length) {
        model.replaceChildren(...status.models.map((one) => el("option", {
          value: one.name === status.default_model ? "" : one.name, text: one.name, disabled: one.ready === false,
        })));
      }
      const known = status.models.find((one) => one.name === (settings.model || status.default_model));
      licence.textContent = known?.licence ? `Licence: ${known.licence}` : "";
    }
    model.value = settings.model;
    decoder.value = settings.decoder;
    tidy.checked = settings.tidy;
    scrolling.value = settings.scrolling;
    theme.value = settings.theme;
    measured.textContent = decoders.report;
  };
  app.events.on("status settings decoders", show);
  show();
  return sheet(app, "settings-sheet", "Settings", body);
}

/**
 * @param {string} label
 * @param {HTMLElement} control
 * @param {...Node} notes
 */
function field(label, control, ...notes) {
  return el("label", { class: "field" }, el("span", { text: label }), control, ...notes);
}

/**
 * @param {import("../app.js").App} app
 * @param {"decoder" | "scrolling" | "theme"} name
 * @param {[string, string][]} options
 */
function choice(app, name, options) {
  const made = el("select", { on: { change: () => app.set({ [name]: made.value }) } },
    ...options.map(([value, text]) => el("option", { value, text })));
  return made;
}
