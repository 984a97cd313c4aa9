// @ts-check
/**
 * All masks of a picture at once, to pick from: pointing lights one up, clicking takes it as an object.
 *
 * @typedef {object} Found
 * @property {"working" | "done"} state
 * @property {number | null} progress
 * @property {string} message
 * @property {import("../wire.js").Found[]} masks
 * @property {Map<number, number>} taken which mask became which object
 * @property {AbortController} work
 */
import { EngineError, wasAborted } from "../engine/engine.js";
import { bitsOf } from "../rle.js";
import { rgb } from "../canvas/shapes.js";
import { tidy } from "../tidy.js";
import { find, newThing, put, without } from "../state.js";

const MAP_PIXELS = 1 << 20; // the map of what lies where need not be finer than a screen

/**
 * @param {import("../app.js").App} app
 * @returns {import("./tool.js").Tool}
 */
export function everythingTool(app) {
  /** @type {number | null} */
  let over = null;
  /** @type {{found: Found, step: number, width: number, map: Uint16Array, canvas: HTMLCanvasElement} | null} */
  let drawn = null;

  /** @param {{x: number, y: number}} place */
  function at({ x, y }) {
    const found = app.pictures.current?.everything;
    if (found?.state !== "done" || !drawn || drawn.found !== found) return null;
    const column = Math.floor(x / drawn.step);
    const row = Math.floor(y / drawn.step);
    if (column < 0 || row < 0 || column >= drawn.width) return null;
    const index = drawn.map[row * drawn.width + column];
    return index ? index - 1 : null;
  }

  /** @param {{x: number, y: number} | null} place */
  function point(place) {
    const now = place ? at(place) : null;
    if (now === over) return;
    over = now;
    app.events.emit("live");
  }

  async function start() {
    const picture = app.pictures.current;
    if (!picture || picture.state !== "ready") {
      if (picture) app.say("The picture is not ready yet; everything starts when it is.");
      return;
    }
    if (picture.everything) return;
    /** @type {Found} */
    const found = {
      state: "working", progress: null, message: "", masks: [], taken: new Map(), work: new AbortController(),
    };
    picture.everything = found;
    app.events.emit("everything");
    app.say("Looking for everything in the picture.");
    const { signal } = found.work;
    /** @param {import("../engine/engine.js").Job} job */
    const told = (job) => {
      found.progress = job.progress;
      found.message = job.message ?? "";
      app.events.emit("everything");
    };
    const settings = { model: app.settings.model || undefined };
    const work = () => app.engine.everything(picture.id, settings, told, signal);
    try {
      let answer;
      try {
        answer = await app.connection.patient(work, signal);
      } catch (error) {
        if (!(error instanceof EngineError) || !error.forgotten) throw error;
        await app.pictures.resend(picture);
        answer = await app.connection.patient(work, signal);
      }
      found.masks = app.settings.tidy ? answer.masks.map((one) => ({ ...one, mask: tidy(one.mask) })) : answer.masks;
      found.state = "done";
      app.say(`${answer.masks.length} masks found. Click the ones you want.`, true);
    } catch (error) {
      picture.everything = null;
      if (wasAborted(error)) app.say("Stopped.");
      else app.failed(error);
      if (app.tool.name === "everything") app.pick("point");
    }
    app.events.emit("everything");
  }

  /** @param {number} index */
  function take(index) {
    const picture = app.pictures.current;
    const found = picture?.everything;
    if (!picture || !found) return;
    const { history } = picture;
    const known = found.taken.get(index);
    if (known !== undefined && find(history.doc, known)) {
      app.commit("Let go", without(history.doc, known));
      return app.say("Let go.");
    }
    const thing = newThing(picture.nextId++, picture.size, { candidates: [found.masks[index]] });
    found.taken.set(index, thing.id);
    app.commit("Take", put(history.doc, thing));
    app.say(`${thing.name} taken.`);
  }

  function paint() {
    const picture = app.pictures.current;
    const found = picture?.everything;
    if (!picture || found?.state !== "done" || drawn?.found === found) return;
    const pixels = picture.width * picture.height;
    const step = 2 ** Math.max(0, Math.ceil(Math.log2(Math.sqrt(pixels / MAP_PIXELS))));
    const width = Math.ceil(picture.width / step);
    const height = Math.ceil(picture.height / step);
    const map = new Uint16Array(width * height);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const image = context.createImageData(width, height);
    const colours = new Uint32Array(image.data.buffer);
    // large ones first, so that what is small stays on top and can be pointed at
    const order = found.masks.map((_, index) => index).sort((a, b) => found.masks[b].mask.area - found.masks[a].mask.area);
    order.forEach((index, turn) => {
      const { x, y, w, h, data } = bitsOf(found.masks[index].mask, step);
      const [red, green, blue] = rgb(distinct(turn));
      const colour = (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
      for (let row = 0; row < h; row++) {
        for (let column = 0; column < w; column++) {
          if (!data[row * w + column]) continue;
          const target = (y + row) * width + x + column;
          map[target] = index + 1;
          colours[target] = colour;
        }
      }
    });
    // a dark line between neighbours keeps them apart where their colours are alike
    for (let i = width; i < map.length; i++) {
      if (map[i] && (map[i] !== map[i - 1] || map[i] !== map[i - width])) colours[i] = (colours[i] & 0xffffff) | 0x30000000;
    }
    context.putImageData(image, 0, 0);
    drawn = { found, step, width, map, canvas };
  }

  return {
    name: "everything",
    hint: "Click the masks you want; click again to let go.",
    option: "everything",
    taps: true,
    picked() {
      start();
    },
    dropped() {
      const picture = app.pictures.current;
      if (picture?.everything?.state === "working") picture.everything.work.abort();
      over = null;
    },
    hover: point,
    leave() {
      point(null);
    },
    down() {},
    move() {},
    up(place) {
      point(place);
      if (over !== null) take(over);
    },
    drawMasks(context, render) {
      paint();
      const picture = app.pictures.current;
      if (!picture || !drawn || drawn.found !== picture.everything) return;
      const { view } = app;
      const density = view.scale * render.ratio;
      context.globalAlpha = 0.5;
      context.imageSmoothingEnabled = density * drawn.step < 2;
      const { width, height } = drawn.canvas;
      const unit = drawn.step * density;
      context.drawImage(drawn.canvas, view.x * render.ratio, view.y * render.ratio, width * unit, height * unit);
      context.globalAlpha = 1;
    },
    draw(context, render) {
      const found = app.pictures.current?.everything;
      if (found?.state !== "done") return;
      for (const [index, id] of found.taken) {
        const thing = find(/** @type {any} */ (app.pictures.current).history.doc, id);
        if (thing) render.stroke(context, found.masks[index].mask, "#ffffff", 2.4, 1);
      }
      if (over === null) return;
      const { mask } = found.masks[over];
      render.fill(context, mask, "#ffffff", 0.28);
      render.stroke(context, mask, "#000000", 4, 0.4);
      render.stroke(context, mask, "#ffffff", 2, 1);
    },
  };
}

/**
 * Colours as far apart as their number allows: steps of the golden angle around the circle.
 *
 * @param {number} index
 */
function distinct(index) {
  const hue = (205 + index * 137.508) % 360;
  const light = [0.56, 0.68, 0.46][index % 3];
  const strength = 0.68 * Math.min(light, 1 - light);
  const part = (/** @type {number} */ n) => {
    const k = (n + hue / 30) % 12;
    const value = light - strength * Math.max(-1, Math.min(k - 3, 9 - k, 1));
    return Math.round(value * 255).toString(16).padStart(2, "0");
  };
  return `#${part(0)}${part(8)}${part(4)}`;
}
