// @ts-check
/** What is there before a picture is: an invitation. */
import { drawExample, exampleFile } from "../example.js";
import { button } from "./buttons.js";
import { el } from "./dom.js";
import { icon } from "./icons.js";

/** @param {import("../app.js").App} app */
export function welcome(app) {
  const scene = el("canvas", { width: 720, height: 480, "aria-hidden": "true" });
  const context = /** @type {CanvasRenderingContext2D} */ (scene.getContext("2d"));
  context.scale(0.5, 0.5);
  drawExample(context);
  const start = el("button", { type: "button", class: "example", on: { click: async () => app.take([await exampleFile()]) } },
    scene, el("span", {}, el("strong", { text: "Try it with an example" }), el("small", { text: "A little scene with things to click" })));
  const model = el("p", { class: "fine" });
  const box = el("section", { class: "welcome", "aria-label": "Start" },
    el("div", { class: "card" },
      el("h2", { text: "Click anything. Get its mask." }),
      el("p", { class: "lead", text: "Open a picture, point at a thing, and it lights up. Drop pictures here, paste one, or choose:" }),
      el("div", { class: "ways" },
        button(app, "open", { icon: "picture", text: "Open pictures", class: "primary" }),
        button(app, "folder", { icon: "folder", text: "Open a folder", class: "quiet" })),
      start,
      el("p", { class: "fine" }, icon("check"), "Pictures go to the server that sent this page, and nowhere else."),
      model));
  app.events.on("status", () => {
    const { status } = app;
    if (!status) return;
    const known = status.models.find((one) => one.name === status.default_model);
    const size = known?.parameters ? `, ${(known.parameters / 1e6).toFixed(1)} million parameters` : "";
    model.textContent = `Model: ${status.default_model}${size}. anymask ${status.version}.`;
  });
  app.events.on("picture", () => (box.hidden = Boolean(app.pictures.current)));
  return box;
}
