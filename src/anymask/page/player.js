// @ts-check
/**
 * Plays the film strip: one open picture after another with its masks, as a clip. Only the browser works; the server
 * hears of the picture at which the playing stops.
 */
const RATE = 12; // pictures a second, where the browser keeps up

export class Player {
  playing = false;

  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    app.stage.addEventListener("pointerdown", () => this.stop(), true);
  }

  toggle() {
    if (this.playing) this.stop();
    else if (this.app.pictures.list.length > 1) this.#run().catch((error) => this.app.failed(error));
    else this.app.say("Open several pictures, or a folder of frames, to play them.", true);
  }

  stop() {
    if (!this.playing) return;
    this.playing = false;
    this.app.pictures.prepare();
    this.app.events.emit("playing");
  }

  async #run() {
    const { pictures, events } = this.app;
    this.playing = true;
    this.app.asking.forget();
    events.emit("playing");
    let due = performance.now();
    while (this.playing && pictures.list.length > 1) {
      const { current, list } = pictures;
      const next = list[(list.indexOf(/** @type {import("./pictures.js").Picture} */ (current)) + 1) % list.length];
      await pictures.read(next);
      due = Math.max(due + 1000 / RATE, performance.now());
      await new Promise((go) => setTimeout(go, due - performance.now()));
      if (!this.playing) break;
      // somebody chose another picture meanwhile: that one is wanted
      if (pictures.current !== current) return this.stop();
      pictures.glance(next);
    }
    this.stop();
  }
}
