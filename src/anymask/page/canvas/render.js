// @ts-check
/**
 * Three canvases on top of each other: the photo, the masks, and what changes with every move of the pointer. Each is
 * drawn again only when something on it has changed, and at most once a frame.
 *
 * @typedef {import("../rle.js").Mask} Mask
 * @typedef {"photo" | "masks" | "live"} Layer
 */
import { find } from "../state.js";
import { outlineOf, shapeOf, stepFor, tinted } from "./shapes.js";

const FADE = 140; // ms in which a hovered mask comes and goes
const GLOW = 420; // ms in which a new mask shines
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
    events.on("waiting live everything tool", () => this.invalidate("masks", "live"));
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
      context.fillStyle = this.#checkers(context);
      context.fillRect(...place);
      context.globalCompositeOperation = "source-over";
    } else context.drawImage(source, ...place);
    if (density >= GRID_FROM) this.#grid(context, density);
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
      thing.points.forEach(([x, y], place) => this.#mark(context, x, y, Boolean(thing.labels[place]), false));
    }
    for (const click of app.asking.waiting) {
      if (click.box && !click.mask) this.box(context, click.box, "#ffffff");
      click.points.forEach(([x, y], place) => this.#mark(context, x, y, Boolean(click.labels[place]), true));
    }
    app.tool.draw?.(context, this);
    if (app.pointer?.cursor) this.#crosshair(context, app.pointer.cursor);
    if (app.asking.waiting.length && !this.calm) this.invalidate("live");
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
   * @param {CanvasRenderingContext2D} context
   * @param {number} x
   * @param {number} y
   * @param {boolean} inside
   * @param {boolean} waits
   */
  #mark(context, x, y, inside, waits) {
    const at = this.app.view.toStage(x, y);
    const beat = waits && !this.calm ? (performance.now() % 900) / 900 : 0;
    if (waits) {
      context.beginPath();
      context.arc(at.x, at.y, 6 + 9 * beat, 0, 7);
      context.strokeStyle = `rgb(255 255 255 / ${1 - beat})`;
      context.lineWidth = 2;
      context.stroke();
    }
    context.beginPath();
    context.arc(at.x, at.y, 6.5, 0, 7);
    context.fillStyle = inside ? "#18a957" : "#e5395a";
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = "#ffffff";
    context.stroke();
    context.beginPath();
    context.moveTo(at.x - 2.8, at.y);
    context.lineTo(at.x + 2.8, at.y);
    if (inside) {
      context.moveTo(at.x, at.y - 2.8);
      context.lineTo(at.x, at.y + 2.8);
    }
    context.lineWidth = 1.6;
    context.stroke();
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {{x: number, y: number}} place
   */
  #crosshair(context, place) {
    const at = this.app.view.toStage(place.x, place.y);
    for (const [width, colour] of /** @type {const} */ ([[4, "rgb(0 0 0 / 55%)"], [1.8, "#ffffff"]])) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(at.x + dx * 5, at.y + dy * 5);
        context.lineTo(at.x + dx * 15, at.y + dy * 15);
      }
      context.stroke();
    }
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} density
   */
  #grid(context, density) {
    const { view } = this.app;
    const { image } = view;
    const from = view.toImage(0, 0);
    const to = view.toImage(view.stage.width, view.stage.height);
    context.strokeStyle = "rgb(128 128 128 / 35%)";
    context.lineWidth = 1;
    context.beginPath();
    const top = Math.max(0, view.y * this.ratio);
    const bottom = Math.min(context.canvas.height, (view.y + image.height * view.scale) * this.ratio);
    const left = Math.max(0, view.x * this.ratio);
    const right = Math.min(context.canvas.width, (view.x + image.width * view.scale) * this.ratio);
    for (let x = Math.max(0, Math.ceil(from.x)); x <= Math.min(image.width, to.x); x++) {
      const at = Math.round(view.x * this.ratio + x * density) + 0.5;
      context.moveTo(at, top);
      context.lineTo(at, bottom);
    }
    for (let y = Math.max(0, Math.ceil(from.y)); y <= Math.min(image.height, to.y); y++) {
      const at = Math.round(view.y * this.ratio + y * density) + 0.5;
      context.moveTo(left, at);
      context.lineTo(right, at);
    }
    context.stroke();
  }

  /** @param {CanvasRenderingContext2D} context */
  #checkers(context) {
    const tile = document.createElement("canvas");
    const side = Math.round(9 * this.ratio);
    tile.width = tile.height = 2 * side;
    const inner = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
    const dark = this.app.theme?.dark;
    inner.fillStyle = dark ? "#2a2d33" : "#ffffff";
    inner.fillRect(0, 0, 2 * side, 2 * side);
    inner.fillStyle = dark ? "#363a41" : "#e3e5e9";
    inner.fillRect(0, 0, side, side);
    inner.fillRect(side, side, side, side);
    return /** @type {CanvasPattern} */ (context.createPattern(tile, "repeat"));
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
