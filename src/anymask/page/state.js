// @ts-check
/**
 * What has been marked on one picture, as values that never change, and the list of steps that undo and redo walk.
 *
 * @typedef {import("./rle.js").Mask} Mask
 * @typedef {import("./wire.js").Found} Found
 *
 * @typedef {object} Ask one question to the model, as it can be asked again
 * @property {[number, number][]} points
 * @property {number[]} labels
 * @property {[number, number, number, number] | null} box x0, y0, x1, y1
 * @property {{size: number[], counts: string} | null} mask a drawn mask
 * @property {number} chosen which candidate of its answer stood when the next question came
 *
 * @typedef {object} Thing one object on the picture
 * @property {number} id
 * @property {string} name
 * @property {string} colour #rrggbb
 * @property {boolean} hidden
 * @property {[number, number][]} points
 * @property {number[]} labels
 * @property {[number, number, number, number] | null} box
 * @property {Ask[]} asks
 * @property {string} answer
 * @property {Found[]} candidates
 * @property {number} chosen
 * @property {Mask | null} painted added by hand
 * @property {Mask | null} erased taken away by hand
 * @property {Mask} mask what is shown and exported
 *
 * @typedef {object} Doc
 * @property {readonly Thing[]} things the first is drawn lowest
 * @property {number | null} selected
 *
 * @typedef {object} Step
 * @property {string} label
 * @property {Doc} doc
 */
import { combine, emptyMask } from "./rle.js";

/** The palette of Okabe and Ito, azure first: colours that people with any colour vision can tell apart. */
export const COLOURS = [
  "#309ef2", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00",
  "#97cef8", "#ffd073", "#4dffd0", "#e6bcd3", "#8a3d00",
];

/** @param {number} index */
export function colourOf(index) {
  return COLOURS[index % COLOURS.length];
}

/**
 * @param {number} id
 * @param {import("./rle.js").Size} size
 * @param {Partial<Thing>} [given]
 * @returns {Thing}
 */
export function newThing(id, size, given = {}) {
  return settled({
    id, name: `Object ${id}`, colour: colourOf(id - 1), hidden: false, points: [], labels: [], box: null, asks: [],
    answer: "", candidates: [], chosen: 0, painted: null, erased: null, mask: emptyMask(size), ...given,
  });
}

/**
 * The thing with its mask worked out: the chosen candidate, with what was painted and without what was erased.
 *
 * @param {Thing} thing
 * @returns {Thing}
 */
export function settled(thing) {
  let mask = thing.candidates[thing.chosen]?.mask ?? emptyMask(thing.mask.size);
  if (thing.painted) mask = combine(mask, thing.painted, "or");
  if (thing.erased) mask = combine(mask, thing.erased, "minus");
  return { ...thing, mask };
}

/**
 * @param {Doc} doc
 * @param {number | null} [id] the selected one when left out
 * @returns {Thing | null}
 */
export function find(doc, id = doc.selected) {
  return doc.things.find((thing) => thing.id === id) ?? null;
}

/**
 * The document with that thing in place of the one with its id, or on top when it is new.
 *
 * @param {Doc} doc
 * @param {Thing} thing
 * @returns {Doc}
 */
export function put(doc, thing) {
  const known = doc.things.some((one) => one.id === thing.id);
  const things = known ? doc.things.map((one) => (one.id === thing.id ? thing : one)) : [...doc.things, thing];
  return { things, selected: known ? doc.selected : thing.id };
}

/**
 * @param {Doc} doc
 * @param {number} id
 * @returns {Doc}
 */
export function without(doc, id) {
  const place = doc.things.findIndex((thing) => thing.id === id);
  const things = doc.things.filter((thing) => thing.id !== id);
  const next = things[Math.min(place, things.length - 1)]?.id ?? null;
  return { things, selected: doc.selected === id ? next : doc.selected };
}

/**
 * @param {Doc} doc
 * @param {number} id
 * @param {number} by places up (towards the top) when positive
 * @returns {Doc}
 */
export function moved(doc, id, by) {
  const things = [...doc.things];
  const from = things.findIndex((thing) => thing.id === id);
  const to = Math.max(0, Math.min(things.length - 1, from + by));
  things.splice(to, 0, ...things.splice(from, 1));
  return { ...doc, things };
}

/** Every state a picture's document has been in since it was opened. */
export class History {
  /** @type {Step[]} */
  #steps = [{ label: "Open", doc: { things: [], selected: null } }];
  #now = 0;

  get doc() {
    return this.#steps[this.#now].doc;
  }

  get canUndo() {
    return this.#now > 0;
  }

  get canRedo() {
    return this.#now < this.#steps.length - 1;
  }

  /** What undo would take back. */
  get undoLabel() {
    return this.canUndo ? this.#steps[this.#now].label : "";
  }

  get redoLabel() {
    return this.canRedo ? this.#steps[this.#now + 1].label : "";
  }

  /**
   * A new step; what could have been redone is gone.
   *
   * @param {string} label
   * @param {Doc} doc
   */
  push(label, doc) {
    this.#steps.length = this.#now + 1;
    this.#steps.push({ label, doc });
    this.#now += 1;
  }

  /**
   * A change that is no step, such as which object is selected.
   *
   * @param {Doc} doc
   */
  amend(doc) {
    this.#steps[this.#now] = { ...this.#steps[this.#now], doc };
  }

  undo() {
    if (!this.canUndo) return "";
    const { label } = this.#steps[this.#now];
    this.#now -= 1;
    return label;
  }

  redo() {
    if (!this.canRedo) return "";
    this.#now += 1;
    return this.#steps[this.#now].label;
  }

  /** Takes the last step back as if it had never been. */
  drop() {
    if (!this.canUndo) return;
    this.#now -= 1;
    this.#steps.length = this.#now + 1;
  }
}
