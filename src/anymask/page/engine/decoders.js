// @ts-check
/** Where prompts are answered: on the server or in this browser, whichever is faster here. */

export class Decoders {
  /** @param {import("../app.js").App} app */
  constructor(app) {
    this.app = app;
    /** What was measured, for people. */
    this.report = "";
  }

  /**
   * @param {import("../pictures.js").Picture} picture
   * @param {import("./engine.js").Prompt} prompt
   * @returns {Promise<import("../wire.js").Answer>}
   */
  decode(picture, prompt) {
    return this.app.engine.decode(picture.id, prompt);
  }
}
