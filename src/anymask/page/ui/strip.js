// @ts-check
/** The open pictures as a film strip. It is there when there is more than one. */
import { button } from "./buttons.js";
import { el, pressed } from "./dom.js";
import { icon } from "./icons.js";

/** @param {import("../app.js").App} app */
export function strip(app) {
  const list = el("ul", {});
  const play = button(app, "play", { icon: "play", class: "play" });
  const film = el("nav", { class: "island strip needs-picture", "aria-label": "Pictures", hidden: true }, play, list);
  app.events.on("playing", () => {
    play.replaceChildren(icon(app.player.playing ? "stop" : "play"));
    pressed(play, "aria-pressed", app.player.playing);
  });
  /** @type {WeakMap<import("../pictures.js").Picture, HTMLLIElement>} */
  const frames = new WeakMap();

  const show = () => {
    const { list: pictures, current } = app.pictures;
    film.hidden = pictures.length < 2;
    const items = pictures.map((picture) => {
      let item = frames.get(picture);
      if (!item) frames.set(picture, (item = frame(app, picture)));
      const shot = /** @type {HTMLElement} */ (item.querySelector(".shot"));
      if (picture.thumbnail && picture.thumbnail.parentNode !== shot) shot.replaceChildren(picture.thumbnail);
      pressed(shot, "aria-pressed", picture === current);
      const count = picture.history.doc.things.length;
      const badge = /** @type {HTMLElement} */ (item.querySelector(".badge"));
      badge.textContent = count ? String(count) : "";
      badge.hidden = !count;
      return item;
    });
    if (items.length !== list.children.length || items.some((item, place) => list.children[place] !== item)) list.replaceChildren(...items);
    if (current && !film.hidden) frames.get(current)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  app.events.on("pictures picture doc", show);
  return film;
}

/**
 * @param {import("../app.js").App} app
 * @param {import("../pictures.js").Picture} picture
 */
function frame(app, picture) {
  return el("li", {},
    el("button", { type: "button", class: "shot", "aria-label": picture.name, on: { click: () => app.pictures.show(picture) } }, icon("picture")),
    el("span", { class: "badge", "aria-label": "objects" }),
    el("button", { type: "button", class: "close", "aria-label": `Close ${picture.name}`, on: { click: () => app.pictures.close(picture) } }, icon("close")));
}
