// @ts-check
/**
 * Questions to the model: hovering, of which only the newest counts, and clicks, of which each counts and in order.
 *
 * @typedef {import("./wire.js").Answer} Answer
 * @typedef {import("./engine/engine.js").Prompt} Prompt
 * @typedef {import("./pictures.js").Picture} Picture
 *
 * @typedef {object} Click a question that waits for its answer
 * @property {Picture} picture
 * @property {number} thing id of the object it belongs to; a new one is made when the answer is there
 * @property {string} label what undo calls it
 * @property {[number, number][]} points
 * @property {number[]} labels
 * @property {[number, number, number, number] | null} box
 * @property {import("./rle.js").Mask | null} mask
 * @property {import("./rle.js").Mask | null} seen the mask that lay under the pointer when it was pressed: what the
 *   answer will show first
 * @property {boolean} withdrawn
 * @property {number} started performance.now() of the event that caused it
 */
import { EngineError, wasAborted } from "./engine/engine.js";
import { same, toCoco, withoutPiece } from "./rle.js";
import { tidy } from "./tidy.js";
import { find, newThing, put, settled } from "./state.js";

export class Asking {
  /** @type {Click[]} */
  waiting = [];
  #busy = false;
  /** @type {{x: number, y: number} | null} */
  #newest = null;
  #hovering = false;
  #wanted = false;

  /**
   * @param {import("./app.js").App} app
   */
  constructor(app) {
    this.app = app;
    /** @type {{mask: import("./rle.js").Mask, x: number, y: number} | null} */
    this.hovered = null;
    this.hoversAsked = 0;
    app.events.on("state", () => this.#run());
    app.events.on("picture", () => this.forget());
  }

  /**
   * The mask under the pointer; null when the pointer left. At most one question is under way; of those that came
   * meanwhile only the newest is asked.
   *
   * @param {{x: number, y: number} | null} place
   */
  hover(place) {
    this.#wanted = place !== null;
    this.#newest = place && { x: Math.floor(place.x) + 0.5, y: Math.floor(place.y) + 0.5 };
    if (!place) {
      this.hovered = null;
      this.app.events.emit("hover");
    } else if (!this.#hovering) this.#follow();
  }

  /**
   * A question that will be answered, now or when the picture is ready.
   *
   * @param {Partial<Click> & {label: string, started?: number}} given
   * @returns {Click | null} null where there is nothing to ask yet
   */
  ask(given) {
    const picture = this.app.pictures.current;
    if (!picture || picture.state === "failed") return null;
    const thing = this.app.target();
    const click = {
      picture, thing, points: [], labels: [], box: null, mask: null, seen: null, withdrawn: false,
      started: performance.now(), ...given,
    };
    const known = find(picture.history.doc, thing);
    const positive = click.labels.some(Boolean) || click.box || click.mask;
    const earlier = known?.mask.area || this.waiting.some((one) => one.thing === thing);
    if (!positive && !earlier) {
      this.app.say("Nothing to take away from yet: click inside something first.", true);
      return null;
    }
    if (!earlier) click.seen = this.#under(click);
    this.waiting.push(click);
    this.hovered = null;
    if (click.seen) this.app.measure(click.started);
    this.app.events.emit("waiting");
    if (picture.state !== "ready") this.app.say("Kept: it is answered as soon as the picture is ready.");
    // decoding in the browser would hold up the frame that shows what is known already
    if (click.seen && this.app.decoders.way === "browser") this.app.render.painted(() => this.#run());
    else this.#run();
    return click;
  }

  /**
   * Takes a question back, whether it waits or is answered already.
   *
   * @param {Click} click
   */
  withdraw(click) {
    if (click.withdrawn) return;
    click.withdrawn = true;
    const at = this.waiting.indexOf(click);
    if (at >= 0) this.waiting.splice(at, 1);
    else this.app.dropStep();
    this.app.events.emit("waiting");
  }

  /** Takes the newest waiting question back; false when none waits. */
  withdrawLast() {
    const last = this.waiting.at(-1);
    if (last) this.withdraw(last);
    return Boolean(last);
  }

  forget() {
    this.waiting = [];
    this.hover(null);
    this.app.events.emit("waiting");
  }

  /**
   * What hovering has shown for a lone click at this very place. The same question has the same answer, so it is shown
   * at once, while its candidates are on their way.
   *
   * @param {Click} click
   */
  #under({ points, labels, box, mask }) {
    if (!this.hovered || points.length !== 1 || !labels[0] || box || mask) return null;
    const same = points[0][0] === this.hovered.x && points[0][1] === this.hovered.y;
    return same ? this.hovered.mask : null;
  }

  async #follow() {
    this.#hovering = true;
    try {
      for (let place = this.#newest; place; place = this.#newest) {
        this.#newest = null;
        const picture = this.app.pictures.current;
        if (!picture || picture.state !== "ready" || this.app.connection.lost || this.waiting.length) break;
        this.hoversAsked += 1;
        const prompt = { points: [/** @type {[number, number]} */ ([place.x, place.y])], labels: [1], best: true };
        const answer = await this.#decode(picture, prompt);
        if (!this.#wanted || picture !== this.app.pictures.current || this.waiting.length) continue;
        this.hovered = answer.masks.length ? { mask: answer.masks[0].mask, ...place } : null;
        this.app.events.emit("hover");
      }
    } catch (error) {
      if (error instanceof EngineError && error.unreachable) this.app.connection.back();
      else if (error instanceof EngineError && error.forgotten) this.#resend();
      else if (!(error instanceof EngineError && error.busy) && !wasAborted(error)) this.app.failed(error);
    } finally {
      this.#hovering = false;
    }
  }

  #resend() {
    const picture = this.app.pictures.current;
    if (picture) this.app.pictures.resend(picture).catch((error) => this.app.failed(error));
  }

  /**
   * @param {Picture} picture
   * @param {Prompt} prompt
   */
  async #decode(picture, prompt) {
    const model = this.app.settings.model || undefined;
    const answer = await this.app.decoders.decode(picture, { ...prompt, model });
    if (!this.app.settings.tidy) return answer;
    const masks = answer.masks.map((one) => ({ ...one, mask: tidy(one.mask, prompt.points, prompt.labels) }));
    return { ...answer, masks };
  }

  async #run() {
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let click = this.waiting[0]; click; click = this.waiting[0]) {
        if (click.picture.state !== "ready") break;
        try {
          const answer = await this.#answer(click);
          if (!click.withdrawn) this.#take(click, answer);
        } catch (error) {
          if (!click.withdrawn) this.app.failed(error);
        }
        if (this.waiting[0] === click) this.waiting.shift();
        this.app.events.emit("waiting");
      }
    } finally {
      this.#busy = false;
    }
  }

  /**
   * @param {Click} click
   * @returns {Promise<Answer>}
   */
  async #answer(click) {
    const { picture } = click;
    for (let tries = 0; ; tries++) {
      const before = find(picture.history.doc, click.thing);
      try {
        return await this.app.connection.patient(async () => {
          if (tries && before?.answer) return this.#replayed(click, before);
          return this.#decode(picture, question(click, before, before?.answer ?? ""));
        });
      } catch (error) {
        if (!(error instanceof EngineError) || tries > 1) throw error;
        if (error.forgotten) await this.app.pictures.resend(picture);
        else if (!error.stale) throw error;
      }
    }
  }

  /**
   * The server has forgotten the answer that this click builds on: asks all earlier questions of the object again.
   *
   * @param {Click} click
   * @param {import("./state.js").Thing} thing
   */
  async #replayed(click, thing) {
    /** @type {Prompt["previous"]} */
    let previous;
    for (const ask of thing.asks) {
      /** @type {Prompt} */
      const prompt = { points: ask.points, labels: ask.labels, ...boxed(ask.box), mask: ask.mask ?? undefined, previous };
      const answer = await this.#decode(click.picture, prompt);
      previous = { answer: answer.id, candidate: Math.min(ask.chosen, answer.masks.length - 1) };
    }
    const prompt = question(click, thing, "");
    return this.#decode(click.picture, previous ? { ...prompt, mask: undefined, previous } : prompt);
  }

  /**
   * @param {Click} click
   * @param {Answer} answer
   */
  #take(click, answer) {
    const { history } = click.picture;
    // the mask that is shown already, and not made anew for the canvas, where it is the same
    const [first] = answer.masks;
    if (click.seen && first && same(first.mask, click.seen)) first.mask = click.seen;
    const before = find(history.doc, click.thing) ?? newThing(click.thing, click.picture.size);
    const prompt = question(click, before, "");
    const asked = {
      points: prompt.points ?? [], labels: prompt.labels ?? [], box: prompt.box ?? null, mask: prompt.mask ?? null, chosen: 0,
    };
    const asks = before.asks.map((ask, place) =>
      place === before.asks.length - 1 ? { ...ask, chosen: before.chosen } : ask,
    );
    let { painted, erased } = before;
    click.points.forEach(([x, y], place) => {
      // a click says more than an earlier stroke of the brush under it
      if (click.labels[place] && erased) erased = withoutPiece(erased, x, y);
      if (!click.labels[place] && painted) painted = withoutPiece(painted, x, y);
    });
    const after = settled({
      ...before,
      points: asked.points,
      labels: asked.labels,
      box: asked.box,
      asks: [...asks, asked],
      answer: answer.id,
      candidates: answer.masks,
      chosen: 0,
      painted,
      erased,
    });
    if (click.thing >= click.picture.nextId) click.picture.nextId = click.thing + 1;
    const doc = put(history.doc, after);
    history.push(click.label, { ...doc, selected: after.id });
    if (!click.seen) this.app.measure(click.started);
    this.app.changed();
    const share = Math.round((1000 * after.mask.area) / (click.picture.width * click.picture.height)) / 10;
    const others = answer.masks.length > 1 ? `, ${answer.masks.length} candidates` : "";
    this.app.say(after.mask.area ? `${after.name}: ${share} % of the picture${others}.` : `${after.name}: nothing found there.`);
    if (answer.note) this.app.say(sentence(answer.note), true);
  }
}

/**
 * @param {Click} click
 * @param {import("./state.js").Thing | null} before
 * @param {string} previous id of the answer to build on, or empty
 * @returns {Prompt}
 */
function question(click, before, previous) {
  const points = [...(before?.points ?? []), ...click.points];
  const labels = [...(before?.labels ?? []), ...click.labels];
  const fresh = previous || !before?.candidates.length || before.asks.length ? null : before.mask;
  return {
    points,
    labels,
    ...boxed(click.box ?? before?.box ?? (fresh?.area ? around(fresh) : null)),
    ...drawn(click.mask ?? fresh),
    previous: previous && !click.mask ? { answer: previous, candidate: before?.chosen ?? 0 } : undefined,
  };
}

/** @param {[number, number, number, number] | null} box */
function boxed(box) {
  return box ? { box } : {};
}

/** @param {import("./rle.js").Mask | null} mask */
function drawn(mask) {
  return mask?.area ? { mask: toCoco(mask) } : {};
}

/**
 * @param {import("./rle.js").Mask} mask
 * @returns {[number, number, number, number]}
 */
export function around(mask) {
  const [x, y, w, h] = mask.box;
  return [x, y, x + w, y + h];
}

/** @param {string} note */
function sentence(note) {
  return `${note[0].toUpperCase()}${note.slice(1)}${/[.!?]$/.test(note) ? "" : "."}`;
}
