// @ts-check
/**
 * Three canvases on top of each other: the photo, the masks, and what changes with every move of the pointer. Each is
 * drawn again only when something on it has changed, and at most once a frame.
 *
 * @typedef {import("../rle.js").Mask} Mask
 * @typedef {"photo" | "masks" | "live"} Layer
 */
import { find } from "../state.js";
import { checkers, click, crosshair, grid, pulse } from "./marks.js";
import { outlineOf, shapeOf, stepFor, tinted } from "./shapes.js";

const FADE = 140; // ms in which a hovered mask comes and goes
const GLOW = 420; // ms in which a new mask shines
const PATIENCE = 250; // ms after which a click that waits begins to pulse
const SLOW_FRAME = 60; // ms between two frames
const PIXELATED_FROM = 2;
const GRID_FROM = 18;
/** @type {Layer} */
const PHOTO = "photo";
/** What a click would take away. */
const AWAY = "#ff5470";

export class Render {
  /** @type {Set<Layer>} */
  #stale = new Set();
  #frame = 0;
  /** @type {(() => void)[]} */
  #afterPaint = [];
  /** @type {{bitmap: ImageBitmap, levels: HTMLCanvasElement[]} | null} */
  #pyramid = null;
  /** @type {{mask: Mask, since: number, leaving: number} | null} */
  #hover = null;
  #glowSince = 0;
  #glowFrame = 0;

  /**
   * @param {import("../app.js").App} app
   * @param {HTMLElement} stage
   */
  constructor(app, stage) {
    this.app = app;
    this.stage = stage;
    this.calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    /** @type {Record<Layer, HTMLCanvasElement>} */
    this.canvases = { photo: layer(stage), masks: layer(stage), live: layer(stage) };
    const { events } = app;
    events.on("view", () => this.invalidate("photo", "masks", "live"));
    events.on("picture drawn", () => this.invalidate("photo", "masks", "live"));
    events.on("doc", () => this.invalidate("masks", "live", ...(app.settings.cutout ? [PHOTO] : [])));
    events.on("settings theme", () => this.invalidate("photo", "masks", "live"));
    events.on("live everything tool", () => this.invalidate("masks", "live"));
    events.on("waiting", () => this.#waits());
    events.on("hover", () => this.#hovered());
  }

  get ratio() {
    return Math.min(3, this.stage.ownerDocument.defaultView?.devicePixelRatio || 1);
  }

  resize() {
    const { width, height } = this.app.view.stage;
    for (const canvas of Object.values(this.canvases)) {
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
    }
    this.invalidate("photo", "masks", "live");
  }

  /** @param {Layer[]} layers */
  invalidate(...layers) {
    for (const one of layers) this.#stale.add(one);
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  /**
   * Calls back when what is known now has been painted.
   *
   * @param {() => void} done
   */
  painted(done) {
    this.#afterPaint.push(done);
    this.invalidate("live");
  }

  /** A new mask shines for a moment. */
  glow() {
    if (!this.calm) this.#glowSince = performance.now();
  }

  /** Whether clicks have waited for so long that the page should say so. Until then nothing moves: a frame takes time too. */
  get #slow() {
    const first = this.app.asking.waiting[0];
    return !this.calm && first !== undefined && performance.now() - first.started >= PATIENCE;
  }

  #waits() {
    this.invalidate("masks", "live");
    if (this.app.asking.waiting.length && !this.calm) setTimeout(() => this.#slow && this.invalidate("live"), PATIENCE);
  }

  #hovered() {
    const mask = this.app.asking.hovered?.mask ?? null;
    const now = performance.now();
    if (mask) this.#hover = { mask, since: this.#hover && !this.#hover.leaving ? this.#hover.since : now, leaving: 0 };
    else if (this.#hover && !this.#hover.leaving) this.#hover = { ...this.#hover, leaving: now };
    this.invalidate("live");
  }

  #draw() {
    this.#frame = 0;
    const stale = [...this.#stale];
    this.#stale.clear();
    for (const one of stale) {
      const context = /** @type {CanvasRenderingContext2D} */ (this.canvases[one].getContext("2d"));
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, context.canvas.width, context.canvas.height);
      if (one === "photo") this.#photo(context);
      else if (one === "masks") this.#masks(context);
      else this.#live(context);
    }
    const done = this.#afterPaint;
    this.#afterPaint = [];
    // a message posted from within a frame is handled after that frame has been painted
    if (done.length) {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => done.forEach((one) => one());
      port2.postMessage(null);
    }
  }

  /** @param {CanvasRenderingContext2D} context */
  #photo(context) {
    const picture = this.app.pictures.current;
    if (!picture?.bitmap) return;
    const { view, settings } = this.app;
    const density = view.scale * this.ratio;
    context.imageSmoothingQuality = "high";
    context.imageSmoothingEnabled = density < PIXELATED_FROM;
    const source = density < 0.5 ? this.#level(picture.bitmap, density) : picture.bitmap;
    const place = /** @type {const} */ ([
      view.x * this.ratio, view.y * this.ratio, picture.width * density, picture.height * density,
    ]);
    const things = picture.history.doc.things.filter((thing) => !thing.hidden && thing.mask.area);
    if (settings.cutout && things.length) {
      for (const thing of things) this.fill(context, thing.mask, "#000000", 1);
      context.globalCompositeOperation = "source-in";
      context.drawImage(source, ...place);
      context.globalCompositeOperation = "destination-over";
      context.fillStyle = checkers(context, Boolean(this.app.theme?.dark), this.ratio);
      context.fillRect(...place);
      context.globalCompositeOperation = "source-over";
    } else context.drawImage(source, ...place);
    if (density >= GRID_FROM) grid(context, view, this.ratio);
  }

  /** @param {CanvasRenderingContext2D} context */
  #masks(context) {
    const picture = this.app.pictures.current;
    if (!picture?.width) return;
    const { settings, tool } = this.app;
    const { doc } = picture.history;
    const selected = find(doc);
    const dim = tool.name === "everything" && picture.everything ? 0.35 : 1;
    for (const stored of doc.things) {
      const thing = this.app.preview?.id === stored.id ? this.app.preview : stored;
      if (thing.hidden || !thing.mask.area) continue;
      const isSelected = thing.id === selected?.id;
      if (!settings.cutout) this.fill(context, thing.mask, thing.colour, settings.opacity * dim);
      if (settings.outline) {
        if (isSelected && !settings.cutout) this.stroke(context, thing.mask, "#ffffff", 3.2, 0.9 * dim);
        this.stroke(context, thing.mask, thing.colour, isSelected ? 1.8 : 1.4, dim);
      }
    }
    const { preview } = this.app;
    if (preview && !find(doc, preview.id)) this.fill(context, preview.mask, preview.colour, settings.opacity);
    for (const { seen } of this.app.asking.waiting) {
      if (!seen) continue;
      this.fill(context, seen, this.app.nextColour(), settings.opacity);
      if (settings.outline) this.stroke(context, seen, this.app.nextColour(), 1.8, 1);
    }
    tool.drawMasks?.(context, this);
  }

  /** @param {CanvasRenderingContext2D} context */
  #live(context) {
    const { app } = this;
    const picture = app.pictures.current;
    if (!picture?.width) return;
    this.#drawHover(context);
    this.#drawGlow(context, picture);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    const thing = find(picture.history.doc);
    if (thing && !thing.hidden && app.tool.marks) {
      if (thing.box) this.box(context, thing.box, thing.colour);
      thing.points.forEach(([x, y], place) => click(context, app.view.toStage(x, y), Boolean(thing.labels[place])));
    }
    for (const asked of app.asking.waiting) {
      if (asked.box && !asked.mask) this.box(context, asked.box, "#ffffff");
      asked.points.forEach(([x, y], place) => {
        const at = app.view.toStage(x, y);
        if (this.#slow) pulse(context, at);
        click(context, at, Boolean(asked.labels[place]));
      });
    }
    app.tool.draw?.(context, this);
    if (app.pointer?.cursor) crosshair(context, app.view.toStage(app.pointer.cursor.x, app.pointer.cursor.y));
    if (this.#slow) this.invalidate("live");
  }

  /** @param {CanvasRenderingContext2D} context */
  #drawHover(context) {
    if (!this.#hover) return;
    const now = performance.now();
    const { mask, since, leaving } = this.#hover;
    const come = this.calm ? 1 : Math.min(1, (now - since) / FADE);
    const go = leaving ? (this.calm ? 0 : 1 - Math.min(1, (now - leaving) / FADE)) : 1;
    const strength = come * go;
    if (leaving && go <= 0) {
      this.#hover = null;
      return;
    }
    const colour = this.app.takesAway ? AWAY : this.app.nextColour();
    this.fill(context, mask, colour, 0.34 * strength);
    this.stroke(context, mask, colour, 7, 0.22 * strength);
    this.stroke(context, mask, "#ffffff", 1.6, 0.95 * strength);
    if (come < 1 || leaving) this.invalidate("live");
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {import("../pictures.js").Picture} picture
   */
  #drawGlow(context, picture) {
    const age = (performance.now() - this.#glowSince) / GLOW;
    const thing = find(picture.history.doc);
    if (age >= 1 || !thing?.mask.area || thing.hidden) return;
    // a machine that cannot keep up shows the mask rather than the shine
    const now = performance.now();
    if (this.#glowSince < this.#glowFrame && now - this.#glowFrame > SLOW_FRAME) return;
    this.#glowFrame = now;
    const strength = (1 - age) ** 2;
    this.stroke(context, thing.mask, thing.colour, 4 + 12 * age, 0.5 * strength);
    this.stroke(context, thing.mask, "#ffffff", 2, strength);
    this.invalidate("live");
  }

  /**
   * Fills a mask, sharp to its pixels.
   *
   * @param {CanvasRenderingContext2D} context
   * @param {Mask} mask
   * @param {string} colour
   * @param {number} opacity
   */
  fill(context, mask, colour, opacity) {
    if (!mask.area) return;
    const { shape, density, unit } = this.#shape(mask);
    const { bits } = shape;
    this.#place(context);
    context.globalAlpha = opacity;
    context.imageSmoothingEnabled = density < PIXELATED_FROM;
    context.imageSmoothingQuality = "high";
    context.drawImage(tinted(shape, colour), bits.x * unit, bits.y * unit, bits.w * unit, bits.h * unit);
    context.globalAlpha = 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  /**
   * Draws along a mask's edge.
   *
   * @param {CanvasRenderingContext2D} context
   * @param {Mask} mask
   * @param {string} colour
   * @param {number} width CSS pixels
   * @param {number} opacity
   */
  stroke(context, mask, colour, width, opacity) {
    if (!mask.area) return;
    const { shape, density, unit } = this.#shape(mask);
    this.#place(context);
    context.translate(shape.bits.x * unit, shape.bits.y * unit);
    context.scale(unit, unit);
    context.globalAlpha = opacity;
    context.strokeStyle = colour;
    context.lineWidth = (width * this.ratio) / unit;
    context.lineJoin = "round";
    context.stroke(outlineOf(shape, density));
    context.globalAlpha = 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  /**
   * @param {CanvasRenderingContext2D} context in CSS pixels of the stage
   * @param {readonly number[]} box x0, y0, x1, y1 in pixels of the picture
   * @param {string} colour
   */
  box(context, [x0, y0, x1, y1], colour) {
    const a = this.app.view.toStage(x0, y0);
    const b = this.app.view.toStage(x1, y1);
    context.lineWidth = 3;
    context.strokeStyle = "rgb(0 0 0 / 45%)";
    context.strokeRect(a.x, a.y, b.x - a.x, b.y - a.y);
    context.lineWidth = 1.5;
    context.strokeStyle = colour;
    context.strokeRect(a.x, a.y, b.x - a.x, b.y - a.y);
  }

  /** @param {Mask} mask */
  #shape(mask) {
    const density = this.app.view.scale * this.ratio;
    const step = stepFor(density);
    return { shape: shapeOf(mask, step), density, unit: step * density };
  }

  /** @param {CanvasRenderingContext2D} context */
  #place(context) {
    context.setTransform(1, 0, 0, 1, this.app.view.x * this.ratio, this.app.view.y * this.ratio);
  }

  /**
   * The photo halved as often as fits, so that a large photo shown small neither flickers nor costs its full size.
   *
   * @param {ImageBitmap} bitmap
   * @param {number} density
   */
  #level(bitmap, density) {
    if (this.#pyramid?.bitmap !== bitmap) this.#pyramid = { bitmap, levels: [] };
    const { levels } = this.#pyramid;
    const wanted = Math.floor(Math.log2(1 / density));
    while (levels.length < wanted) {
      const below = levels.at(-1) ?? bitmap;
      const canvas = document.createElement("canvas");
      canvas.width = Math.max(1, below.width >> 1);
      canvas.height = Math.max(1, below.height >> 1);
      const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
      context.imageSmoothingQuality = "medium";
      context.drawImage(below, 0, 0, canvas.width, canvas.height);
      levels.push(canvas);
    }
    return levels[wanted - 1] ?? bitmap;
  }
}

/** @param {HTMLElement} stage */
function layer(stage) {
  const canvas = stage.ownerDocument.createElement("canvas");
  canvas.className = "layer";
  canvas.setAttribute("aria-hidden", "true");
  stage.append(canvas);
  return canvas;
}
