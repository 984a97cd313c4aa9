// @ts-check
/**
 * The pictures that are open: a strip of them, of which one is on the canvas.
 *
 * @typedef {"new" | "opening" | "encoding" | "ready" | "failed"} PictureState
 */
import { EngineError, wasAborted } from "./engine/engine.js";
import { History } from "./state.js";

const THUMBNAIL = 160;
const KNOWN = /\.(png|jpe?g|jfif|webp|gif|bmp|avif|tiff?|jp2)$/i;
let numbers = 0;

export class Picture {
  /**
   * @param {Blob} file
   * @param {string} name
   */
  constructor(file, name) {
    this.key = ++numbers;
    this.file = file;
    this.name = name;
    /** @type {string} the server's id, empty while it does not have the picture */
    this.id = "";
    this.width = 0;
    this.height = 0;
    /** @type {ImageBitmap | null} */
    this.bitmap = null;
    /** @type {PictureState} */
    this.state = "new";
    /** @type {number | null} */
    this.progress = null;
    this.error = "";
    this.history = new History();
    this.nextId = 1;
    /** @type {import("./tools/everything.js").Found | null} */
    this.everything = null;
    /** @type {HTMLCanvasElement | null} */
    this.thumbnail = null;
  }

  /** @returns {import("./rle.js").Size} */
  get size() {
    return [this.height, this.width];
  }
}

/** The list, and what brings a picture from a file to "ready". */
export class Pictures {
  /** @type {Picture[]} */
  list = [];
  /** @type {Picture | null} */
  current = null;
  #work = new AbortController();

  /**
   * @param {import("./connection.js").Connection} connection
   * @param {import("./emitter.js").Emitter} events emits "pictures" and "picture"
   * @param {() => string} model
   */
  constructor(connection, events, model) {
    this.connection = connection;
    this.engine = connection.engine;
    this.events = events;
    this.model = model;
  }

  /**
   * Adds files that may be pictures and shows the first of them.
   *
   * @param {Iterable<File>} files
   * @returns {number} how many were taken
   */
  add(files) {
    const taken = [...files].filter((file) => file.type.startsWith("image/") || KNOWN.test(file.name));
    taken.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    const added = taken.map((file) => new Picture(file, file.name || "pasted.png"));
    this.list.push(...added);
    this.events.emit("pictures");
    if (added.length) this.show(added[0]);
    for (const picture of added) if (added.length > 1) this.#thumbnail(picture);
    return added.length;
  }

  /** @param {Picture} picture */
  show(picture) {
    if (picture === this.current) return;
    this.#work.abort();
    this.#work = new AbortController();
    if (this.current && this.current.state !== "ready") this.current.state = "new";
    this.current = picture;
    this.events.emit("picture");
    this.#prepare(picture, this.#work.signal);
  }

  /**
   * Shows a picture without preparing it for clicks, for a moment in which many follow each other.
   *
   * @param {Picture} picture read before
   */
  glance(picture) {
    const left = this.current;
    this.#work.abort();
    if (left && left.state !== "ready") left.state = "new";
    this.current = picture;
    this.events.emit("picture");
    this.events.emit("drawn");
    if (left && left !== picture && left.state === "new") {
      // a clip's frames together would be gigabytes
      left.bitmap?.close();
      left.bitmap = null;
    }
  }

  /** Prepares the current picture for clicks, where it is not yet. */
  prepare() {
    if (!this.current || this.current.state !== "new") return;
    this.#work = new AbortController();
    this.#prepare(this.current, this.#work.signal);
  }

  /**
   * A picture's pixels, as far as the browser can read them.
   *
   * @param {Picture} picture
   */
  async read(picture) {
    if (picture.bitmap) return;
    const bitmap = await createImageBitmap(picture.file).catch(() => null);
    if (!bitmap || picture.bitmap) return bitmap?.close();
    picture.bitmap = bitmap;
    [picture.width, picture.height] = [bitmap.width, bitmap.height];
    if (!picture.thumbnail) picture.thumbnail = shrunk(bitmap);
  }

  /** @param {number} by */
  step(by) {
    if (!this.current || this.list.length < 2) return;
    const at = this.list.indexOf(this.current) + by;
    this.show(this.list[(at + this.list.length) % this.list.length]);
  }

  /** @param {Picture} picture */
  close(picture) {
    const at = this.list.indexOf(picture);
    this.list.splice(at, 1);
    picture.bitmap?.close();
    this.events.emit("pictures");
    if (picture !== this.current) return;
    this.#work.abort();
    this.current = null;
    const next = this.list[Math.min(at, this.list.length - 1)];
    if (next) this.show(next);
    else this.events.emit("picture");
  }

  /** Encodes the current picture anew, with another model. */
  again() {
    if (!this.current) return;
    this.#work.abort();
    this.#work = new AbortController();
    this.current.state = "new";
    this.#prepare(this.current, this.#work.signal);
  }

  /**
   * The server has forgotten the picture: gives it again, quietly.
   *
   * @param {Picture} picture
   */
  async resend(picture) {
    const opened = await this.connection.patient(() => this.engine.open(picture.file, picture.name));
    picture.id = opened.id;
  }

  /**
   * @param {Picture} picture
   * @param {AbortSignal} signal
   */
  async #prepare(picture, signal) {
    try {
      if (!picture.bitmap) await this.#draw(picture, signal);
      if (!picture.id) {
        this.#tell(picture, "opening", null);
        const opened = await this.connection.patient(() => this.engine.open(picture.file, picture.name), signal);
        signal.throwIfAborted();
        picture.id = opened.id;
        if (!picture.bitmap || picture.bitmap.width !== opened.width || picture.bitmap.height !== opened.height) {
          const blob = await this.engine.picture(picture.id);
          picture.bitmap?.close();
          picture.bitmap = await createImageBitmap(blob);
        }
        [picture.width, picture.height] = [opened.width, opened.height];
        if (!picture.thumbnail) this.#shrink(picture);
        this.events.emit("drawn");
      }
      this.#tell(picture, "encoding", null);
      await this.encode(picture, signal);
      signal.throwIfAborted();
      this.#tell(picture, "ready", 1);
    } catch (error) {
      if (wasAborted(error)) return;
      picture.error = error instanceof Error ? error.message : String(error);
      this.#tell(picture, "failed", null);
    }
  }

  /**
   * @param {Picture} picture
   * @param {AbortSignal} signal
   */
  async encode(picture, signal) {
    /** @param {import("./engine/engine.js").Job} job */
    const told = (job) => this.#tell(picture, picture.state === "ready" ? "ready" : "encoding", job.progress);
    for (let sent = 0; ; sent++) {
      try {
        await this.connection.patient(() => this.engine.encode(picture.id, this.model(), told, signal), signal);
        return;
      } catch (error) {
        if (!(error instanceof EngineError) || !error.forgotten || sent) throw error;
        await this.resend(picture);
      }
    }
  }

  /**
   * Shows what the browser itself can read, before the server has said anything.
   *
   * @param {Picture} picture
   * @param {AbortSignal} signal
   */
  async #draw(picture, signal) {
    this.#tell(picture, "opening", null);
    const bitmap = await createImageBitmap(picture.file).catch(() => null);
    if (!bitmap) return; // a format only the server reads
    if (signal.aborted) return bitmap.close();
    picture.bitmap = bitmap;
    [picture.width, picture.height] = [bitmap.width, bitmap.height];
    this.#shrink(picture);
    this.events.emit("drawn");
  }

  /** @param {Picture} picture */
  async #thumbnail(picture) {
    if (picture.thumbnail || picture === this.current) return;
    const bitmap = await createImageBitmap(picture.file).catch(() => null);
    if (!bitmap) return;
    picture.thumbnail = shrunk(bitmap);
    bitmap.close();
    this.events.emit("pictures");
  }

  /** @param {Picture} picture */
  #shrink(picture) {
    if (picture.bitmap) picture.thumbnail = shrunk(picture.bitmap);
    this.events.emit("pictures");
  }

  /**
   * @param {Picture} picture
   * @param {PictureState} state
   * @param {number | null} progress
   */
  #tell(picture, state, progress) {
    picture.state = state;
    picture.progress = progress;
    if (picture === this.current) this.events.emit("state");
  }
}

/** @param {ImageBitmap} bitmap */
function shrunk(bitmap) {
  const scale = Math.min(1, THUMBNAIL / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}
