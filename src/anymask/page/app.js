// @ts-check
/** One page, or one cell of a notebook: everything it is made of, put together. Nothing lives outside its root. */
import { Asking } from "./asking.js";
import { Pointer } from "./canvas/pointer.js";
import { Render } from "./canvas/render.js";
import { Viewport } from "./canvas/viewport.js";
import { Connection } from "./connection.js";
import { Emitter } from "./emitter.js";
import { Decoders } from "./engine/decoders.js";
import { EngineError, wasAborted } from "./engine/engine.js";
import { checkSize, placeMasks, readMasks } from "./masks_file.js";
import { NARROW } from "./narrow.js";
import { Player } from "./player.js";
import { Pictures } from "./pictures.js";
import { checked, loadSettings, saveSettings } from "./settings.js";
import { listen } from "./shortcuts.js";
import { colourOf, find, put, settled } from "./state.js";
import { Theme } from "./theme.js";
import { allTools } from "./tools/all.js";
import { el } from "./ui/dom.js";
import { layOut } from "./ui/layout.js";

/**
 * @typedef {import("./engine/engine.js").Engine} Engine
 * @typedef {object} Options
 * @property {EventTarget} [keys] who hears of keys: the window for a whole page; the root when left out
 * @property {(ms: number) => void} [timed] told of each click's time from the press to the painted mask
 */

/**
 * @param {HTMLElement} root
 * @param {Engine} engine
 * @param {Options} [options]
 */
export function createApp(root, engine, options = {}) {
  return new App(root, engine, options);
}

export class App {
  /**
   * @param {HTMLElement} root
   * @param {Engine} engine
   * @param {Options} options
   */
  constructor(root, engine, options) {
    this.root = root;
    this.engine = engine;
    this.options = options;
    this.settings = loadSettings();
    this.events = new Emitter();
    this.connection = new Connection(engine, this.events);
    this.pictures = new Pictures(this.connection, this.events, () => this.settings.model);
    this.decoders = new Decoders(this);
    /** @type {import("./engine/engine.js").Status | null} */
    this.status = null;
    /** @type {import("./state.js").Thing | null} an object as a stroke under way would leave it */
    this.preview = null;
    this.altHeld = false;
    /** Whether there is room for the list of objects; kept, since to ask the document costs a layout. */
    this.wide = root.clientWidth >= NARROW;
    root.classList.add("anymask");
    this.stage = el("div", {
      class: "stage", tabindex: 0, role: "application",
      "aria-label": "Picture. Arrow keys move a crosshair, Enter clicks, question mark opens the help.",
    });
    this.asking = new Asking(this);
    this.view = new Viewport(() => this.events.emit("view"));
    this.tools = allTools(this);
    /** @type {import("./tools/tool.js").Tool} */
    this.tool = this.tools.point;
    this.theme = new Theme(this);
    this.render = new Render(this, this.stage);
    this.pointer = new Pointer(this, this.stage);
    this.player = new Player(this);
    layOut(this);
    this.events.on("drawn", () => this.pictures.current && checkSize(this, this.pictures.current));
    listen(this, options.keys ?? root);
    this.#start();
  }

  /** The document of the current picture. */
  get doc() {
    return this.pictures.current?.history.doc ?? null;
  }

  /** Whether the next click takes away. */
  get takesAway() {
    return this.settings.away !== this.altHeld;
  }

  /** The id of the object that the next click belongs to: the selected one, one that is being made, or a new one. */
  target() {
    const picture = this.pictures.current;
    if (!picture) return 0;
    const { selected } = picture.history.doc;
    if (selected !== null && find(picture.history.doc)) return selected;
    const last = this.asking.waiting.at(-1)?.thing ?? 0;
    return Math.max(last, picture.nextId);
  }

  /** Whether the list of objects is open: as it was chosen, else where there is room. */
  get panelOpen() {
    return this.settings.panel ?? this.wide;
  }

  /** The colour that a click now would paint in. */
  nextColour() {
    const selected = this.doc && find(this.doc);
    return selected?.colour ?? colourOf((this.pictures.current?.nextId ?? 1) - 1);
  }

  /**
   * @param {string} label
   * @param {import("./state.js").Doc} doc
   */
  commit(label, doc) {
    this.pictures.current?.history.push(label, doc);
    this.changed();
  }

  dropStep() {
    this.pictures.current?.history.drop();
    this.changed();
  }

  changed() {
    this.events.emit("doc");
  }

  undo() {
    if (this.asking.withdrawLast()) return this.say("Taken back.");
    const label = this.pictures.current?.history.undo();
    if (!label) return this.say("Nothing to undo.");
    this.changed();
    this.say(`Undone: ${label.toLowerCase()}.`);
  }

  redo() {
    const label = this.pictures.current?.history.redo();
    if (!label) return this.say("Nothing to redo.");
    this.changed();
    this.say(`Redone: ${label.toLowerCase()}.`);
  }

  /** The next click makes an object of its own. */
  newObject() {
    const picture = this.pictures.current;
    if (!picture) return;
    const last = this.asking.waiting.at(-1)?.thing ?? 0;
    picture.nextId = Math.max(picture.nextId, last + 1);
    this.select(null);
    this.say("The next click makes a new object.");
  }

  /** @param {number | null} id */
  select(id) {
    const history = this.pictures.current?.history;
    if (!history) return;
    history.amend({ ...history.doc, selected: id });
    this.changed();
    const thing = find(history.doc);
    if (thing) this.say(`${thing.name} selected.`);
  }

  /** @param {number | "next"} which */
  choose(which) {
    const thing = this.doc && find(this.doc);
    if (!this.doc || !thing || thing.candidates.length < 2) return this.say("There are no candidates to choose from.");
    const count = thing.candidates.length;
    const chosen = which === "next" ? (thing.chosen + 1) % count : which;
    if (chosen >= count || chosen === thing.chosen) return;
    this.commit("Candidate", put(this.doc, settled({ ...thing, chosen })));
    this.render.glow();
    this.say(`Candidate ${chosen + 1} of ${count}.`);
  }

  /** @param {keyof typeof this.tools} name */
  pick(name) {
    if (this.tool !== this.tools[name]) {
      this.tool.cancel?.();
      this.tool.leave?.();
      this.tool.dropped?.();
      this.tool = this.tools[name];
      this.stage.dataset.tool = name;
      this.events.emit("tool");
      this.say(this.tool.hint);
    }
    this.tool.picked?.();
  }

  /** @param {boolean} held */
  setAway(held) {
    if (held === this.altHeld) return;
    this.altHeld = held;
    this.events.emit("live");
    this.events.emit("away");
  }

  /** @param {Partial<import("./settings.js").Settings>} some */
  set(some) {
    this.settings = checked({ ...this.settings, ...some });
    saveSettings(this.settings);
    if ("theme" in some) this.theme.apply();
    this.events.emit("settings");
    if ("model" in some) this.pictures.again();
  }

  /** @param {boolean} folder */
  chooseFiles(folder) {
    const input = el("input", { type: "file", accept: folder ? false : "image/*,.tif,.tiff,.json", multiple: true, hidden: true });
    if (folder) input.webkitdirectory = true;
    input.addEventListener("change", () => {
      this.take(input.files ?? []);
      input.remove();
    });
    this.root.append(input);
    input.click();
  }

  /**
   * Opens pictures, and puts the masks of COCO files onto those that are open.
   *
   * @param {Iterable<File>} files
   */
  take(files) {
    const list = [...files];
    const lists = list.filter((file) => /\.json$/i.test(file.name));
    const taken = this.pictures.add(list);
    if (lists.length) this.#takeMasks(lists).catch((error) => this.failed(error));
    else if (!taken && list.length) this.say("There is no picture in that: PNG, JPEG, WebP, TIFF and others are read.", true);
    else if (taken > 1) this.say(`${taken} pictures opened.`);
    return taken;
  }

  /** @param {File[]} files */
  async #takeMasks(files) {
    for (const file of files) {
      let marked;
      try {
        marked = readMasks(await file.text());
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        this.say(`${file.name} holds no masks for this page: ${error.message}.`, true);
        continue;
      }
      const count = placeMasks(this, marked);
      const where = count === 1 ? "1 picture" : `${count} pictures`;
      this.say(count ? `Masks on ${where} from ${file.name}.` : `None of the open pictures is named in ${file.name}.`, true);
    }
  }

  /**
   * Asks the server about a picture; where it has forgotten the picture, gives it again first.
   *
   * @template T
   * @param {import("./pictures.js").Picture} picture
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async remembered(picture, work) {
    try {
      return await this.connection.patient(work);
    } catch (error) {
      if (!(error instanceof EngineError) || !error.forgotten) throw error;
      await this.pictures.resend(picture);
      return this.connection.patient(work);
    }
  }

  /**
   * Tells screen readers, and everybody when it is worth a look.
   *
   * @param {string} text
   * @param {boolean} [seen]
   */
  say(text, seen = false) {
    this.events.emit("say", { text, seen, bad: false });
  }

  /** @param {unknown} error */
  failed(error) {
    if (wasAborted(error)) return;
    const text = error instanceof EngineError ? error.message : `This page made a mistake: ${error}`;
    if (!(error instanceof EngineError)) console.error(error);
    this.events.emit("say", { text, seen: true, bad: true });
  }

  /** @param {number} started */
  measure(started) {
    this.render.glow();
    const { timed } = this.options;
    if (timed) this.render.painted(() => timed(performance.now() - started));
  }

  async #start() {
    try {
      this.status = await this.connection.patient(() => this.engine.status());
      const known = this.status.models.some((model) => model.name === this.settings.model);
      if (!known && this.settings.model) this.set({ model: "" });
      this.events.emit("status");
    } catch (error) {
      this.failed(error);
    }
  }
}
