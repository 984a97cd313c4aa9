// @ts-check
/** The same app in a cell of a notebook: it shows one picture and tells Python what is marked. */
import { createApp } from "./app.js";
import { commFetch } from "./engine/comm.js";
import { HttpEngine } from "./engine/http.js";
import { toCoco } from "./rle.js";

/**
 * Called by anywidget for each place where the widget is shown.
 *
 * @param {{model: any, el: HTMLElement}} given
 */
export async function render({ model, el }) {
  const root = document.createElement("div");
  root.style.height = `${model.get("height")}px`;
  root.style.position = "relative";
  root.style.overflow = "hidden";
  el.append(root);
  // the address is never looked up: the channel takes the path alone
  const engine = new HttpEngine("http://localhost/", "", commFetch(model));
  const app = createApp(root, engine);
  const tell = () => {
    const things = app.doc?.things.filter((thing) => !thing.hidden && thing.mask.area) ?? [];
    model.set("objects", things.map(({ name, colour, mask }) => ({ name, colour, mask: toCoco(mask) })));
    model.save_changes();
  };
  app.events.on("doc", tell);
  const name = model.get("name");
  const file = await engine.picture(model.get("picture"));
  app.take([new File([file], /\.[a-z]+$/i.test(name) ? name : `${name || "picture"}.png`, { type: file.type })]);
}

export default { render };
