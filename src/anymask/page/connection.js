// @ts-check
/** Whether the server answers, and waiting until it does again. */
import { EngineError } from "./engine/engine.js";

const FIRST_WAIT = 400;
const LONGEST_WAIT = 4000;

export class Connection {
  /** @type {Promise<void> | null} */
  #waiting = null;

  /**
   * @param {import("./engine/engine.js").Engine} engine
   * @param {import("./emitter.js").Emitter} events emits "offline" and "online"
   */
  constructor(engine, events) {
    this.engine = engine;
    this.events = events;
    this.lost = false;
  }

  /**
   * Does the work; when nobody answers, waits until somebody does and does it again; when the server is busy, as long
   * as it asks. Any other error is the caller's.
   *
   * @template T
   * @param {() => Promise<T>} work
   * @param {AbortSignal} [signal]
   * @returns {Promise<T>}
   */
  async patient(work, signal) {
    for (let busy = 0; ; ) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        if (error.unreachable) await this.back();
        else if (error.busy && busy++ < 5) {
          if (busy === 1) this.events.emit("busy", error.message);
          await new Promise((done) => setTimeout(done, Math.min(error.retryAfter, 10) * 1000));
        } else throw error;
        signal?.throwIfAborted();
      }
    }
  }

  /** Until the server answers. */
  back() {
    if (!this.#waiting) {
      this.lost = true;
      this.events.emit("offline");
      this.#waiting = this.#poll().finally(() => {
        this.#waiting = null;
        this.lost = false;
        this.events.emit("online");
      });
    }
    return this.#waiting;
  }

  async #poll() {
    for (let wait = FIRST_WAIT; ; wait = Math.min(wait * 1.6, LONGEST_WAIT)) {
      await new Promise((done) => setTimeout(done, wait));
      if (await this.engine.reachable()) return;
    }
  }
}
