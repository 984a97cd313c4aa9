// @ts-check
/** All parts of the app in their places. */
import { NARROW } from "../narrow.js";
import { candidates } from "./candidates.js";
import { drop } from "./drop.js";
import { el } from "./dom.js";
import { helpSheet } from "./help.js";
import { live } from "./live.js";
import { objects } from "./objects.js";
import { optionsBar } from "./options.js";
import { settingsSheet } from "./settings.js";
import { strip } from "./strip.js";
import { toolbar } from "./toolbar.js";
import { topBar } from "./top.js";
import { welcome } from "./welcome.js";

/** @param {import("../app.js").App} app */
export function layOut(app) {
  const { root, stage } = app;
  const top = topBar(app);
  const tools = toolbar(app);
  const options = optionsBar(app);
  const panel = objects(app);
  const film = strip(app);
  const shell = el("div", { class: "shell" }, stage, top, tools, options, film, panel, candidates(app), welcome(app));
  root.append(shell, helpSheet(app), settingsSheet(app), ...live(app));
  drop(app, root);

  const resize = () => {
    const { width, height, left, top: y } = stage.getBoundingClientRect();
    if (!width || !height) return;
    const phone = width < NARROW;
    app.wide = root.clientWidth >= NARROW;
    const covered = (/** @type {HTMLElement} */ part) => (part.offsetParent ? part.getBoundingClientRect() : null);
    const right = !phone && covered(panel);
    const side = !phone && covered(tools);
    const bottoms = [options, ...(phone ? [tools, panel] : [film])].map((part) => covered(part)?.top ?? Infinity);
    const tops = [top, ...(phone ? [film] : [])].map((part) => covered(part)?.bottom ?? 0);
    const margin = phone ? 10 : 18;
    app.view.resize(width, height, {
      left: (side ? side.right - left : 0) + margin,
      top: Math.max(...tops) - y + margin,
      right: (right ? left + width - right.left : 0) + margin,
      bottom: height - (Math.min(height + y, ...bottoms) - y) + margin,
    });
    app.render.resize();
  };
  const observer = new ResizeObserver(resize);
  for (const part of [stage, top, tools, options, panel, film]) observer.observe(part);
  app.events.on("settings tool pictures picture", resize);

  app.events.on("picture drawn", () => {
    const picture = app.pictures.current;
    shell.classList.toggle("has-picture", Boolean(picture));
    if (picture?.width && (app.view.image.width !== picture.width || app.view.image.height !== picture.height || shown !== picture)) {
      shown = picture;
      app.view.open(picture.width, picture.height);
    }
    if (!picture) shown = null;
  });
  /** @type {import("../pictures.js").Picture | null} */
  let shown = null;
}
