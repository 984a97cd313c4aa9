// @ts-check
/** Who wants to hear of changes, and telling them. One instance an app; nothing is global. */

export class Emitter {
  /** @type {Map<string, Set<(detail: any) => void>>} */
  #listeners = new Map();

  /**
   * @param {string} names one or more, separated by spaces
   * @param {(detail: any) => void} listener
   */
  on(names, listener) {
    for (const name of names.split(" ")) {
      let set = this.#listeners.get(name);
      if (!set) this.#listeners.set(name, (set = new Set()));
      set.add(listener);
    }
  }

  /**
   * @param {string} name
   * @param {any} [detail]
   */
  emit(name, detail) {
    for (const listener of this.#listeners.get(name) ?? []) listener(detail);
  }
}
