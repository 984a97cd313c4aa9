// @ts-check
/** Where prompts are answered: on the server or in this browser, whichever a measurement finds faster. */
import { BrowserDecoder, HERE } from "./browser.js";
import { EngineError } from "./engine.js";

const TRIES = 3;

export class Decoders {
  /** @type {BrowserDecoder | null} */
  #browser = null;
  /** @type {"server" | "browser"} */
  #faster = "server";
  #failed = false;
  /** @type {Map<string, Promise<void>>} by model: loading and measuring happen once */
  #prepared = new Map();

  /** @param {import("../app.js").App} app */
  constructor(app) {
    this.app = app;
    /** What was measured, for people. */
    this.report = "";
    app.events.on("state status", () => this.#prepare());
    app.events.on("settings", () => this.#prepare());
  }

  /** Where the next prompt would be answered. */
  get way() {
    const { decoder } = this.app.settings;
    if (!this.#browser || this.#browser.model !== this.#model || decoder === "server") return "server";
    return decoder === "browser" ? "browser" : this.#faster;
  }

  get #model() {
    return this.app.settings.model || this.app.status?.default_model || "";
  }

  /**
   * @param {import("../pictures.js").Picture} picture
   * @param {import("./engine.js").Prompt} prompt
   * @returns {Promise<import("../wire.js").Answer>}
   */
  async decode(picture, prompt) {
    const before = prompt.previous?.answer ?? "";
    const builtHere = before.startsWith(HERE);
    // an object is finished where it was begun, and drawn masks are the server's work
    const here = this.#browser && !prompt.mask && (builtHere || (!before && this.way === "browser"));
    if (here && this.#browser) {
      try {
        return await this.#browser.decode(picture, prompt);
      } catch (error) {
        if (error instanceof EngineError && error.stale) throw error;
        console.warn("decoding in the browser failed, the server is asked from now on:", error);
        this.fail();
      }
    }
    if (builtHere) throw new EngineError("ask again without previous", { status: 409 });
    return this.app.engine.decode(picture.id, prompt);
  }

  /** From now on the server is asked. */
  fail() {
    this.#browser = null;
    this.#failed = true;
    this.report = "This browser failed to decode; the server is asked.";
    this.app.events.emit("decoders");
  }

  #prepare() {
    const { status, settings, pictures } = this.app;
    const picture = pictures.current;
    if (!status?.browser_decoder || settings.decoder === "server" || picture?.state !== "ready" || !this.#model) return;
    const key = `${this.#model} ${settings.decoder}`;
    if (this.#prepared.has(key)) return;
    this.#prepared.set(key, this.#load(picture, settings.decoder === "auto"));
  }

  /**
   * @param {import("../pictures.js").Picture} picture
   * @param {boolean} measure
   */
  async #load(picture, measure) {
    const browser = new BrowserDecoder(this.app.engine, this.#model);
    try {
      await browser.load();
      await browser.embedded(picture);
      const here = measure ? await this.#timed(picture, (prompt) => browser.decode(picture, prompt)) : 0;
      const there = measure ? await this.#timed(picture, (prompt) => this.app.engine.decode(picture.id, prompt)) : 0;
      if (this.#failed) return; // while this one was being loaded
      this.#faster = here < there ? "browser" : "server";
      this.#browser = browser;
      this.report = measure
        ? `Measured: ${Math.round(there)} ms on the server, ${Math.round(here)} ms here (${browser.where}).`
        : `Here: ${browser.where}.`;
    } catch (error) {
      this.report = `The server is asked: ${error instanceof Error ? error.message : error}`;
    }
    this.app.events.emit("decoders");
  }

  /**
   * The median time of a few clicks, after one that does not count.
   *
   * @param {import("../pictures.js").Picture} picture
   * @param {(prompt: import("./engine.js").Prompt) => Promise<unknown>} decode
   */
  async #timed(picture, decode) {
    /** @type {number[]} */
    const times = [];
    for (let turn = 0; turn <= TRIES; turn++) {
      const place = (turn + 1) / (TRIES + 2);
      const model = this.app.settings.model || undefined;
      const started = performance.now();
      await decode({ points: [[picture.width * place, picture.height * place]], labels: [1], model });
      if (turn) times.push(performance.now() - started);
    }
    return times.sort((a, b) => a - b)[TRIES >> 1];
  }
}
