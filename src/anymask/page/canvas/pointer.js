// @ts-check
/**
 * Mouse, pen, fingers and keys on the stage, turned into what tools understand: hover, down, move, up, cancel.
 *
 * @typedef {object} Place
 * @property {number} x pixels of the picture
 * @property {number} y
 * @property {boolean} away takes away instead of adding
 * @property {boolean} touch
 * @property {number} time performance.now() of the event
 */

const LONG_PRESS = 420; // ms
const STILL = 9; // CSS pixels that a resting finger may move
const SECOND_FINGER = 180; // ms in which a second finger turns a stroke into a pinch

export class Pointer {
  /** @type {{x: number, y: number} | null} where the keyboard points, in pixels of the picture */
  cursor = null;
  #cursorDown = false;
  /** @type {Map<number, {x: number, y: number}>} */
  #fingers = new Map();
  /** @type {"" | "draw" | "pan" | "pinch"} */
  #doing = "";
  #downAt = { x: 0, y: 0, time: 0 };
  #away = false;
  #press = 0;
  #space = false;

  /**
   * @param {import("../app.js").App} app
   * @param {HTMLElement} stage
   */
  constructor(app, stage) {
    this.app = app;
    this.stage = stage;
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    stage.addEventListener("pointerup", (event) => this.#up(event));
    stage.addEventListener("pointercancel", (event) => this.#cancel(event));
    stage.addEventListener("pointerleave", () => this.#doing || this.app.tool.leave?.());
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("keydown", (event) => this.#key(event));
    stage.addEventListener("blur", () => {
      stage.classList.remove("tabbed");
      this.#hideCursor();
    });
    stage.addEventListener("keyup", (event) => event.key === "Tab" && stage.classList.add("tabbed"));
  }

  /**
   * Space is held: dragging moves the picture.
   *
   * @param {boolean} held
   */
  set space(held) {
    this.#space = held;
    this.stage.classList.toggle("can-pan", held);
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (!this.app.pictures.current?.width) return;
    this.#hideCursor();
    this.stage.classList.remove("tabbed");
    this.stage.focus({ preventScroll: true });
    const at = this.#stagePlace(event);
    try {
      this.stage.setPointerCapture(event.pointerId);
    } catch {
      // a pointer made by a script cannot be captured
    }
    if (event.pointerType === "touch") {
      this.#fingers.set(event.pointerId, at);
      if (this.#fingers.size === 2) {
        clearTimeout(this.#press);
        if (this.#doing === "draw" && performance.now() - this.#downAt.time < SECOND_FINGER) this.app.tool.cancel?.();
        else if (this.#doing === "draw") return;
        this.#doing = "pinch";
        return;
      }
      if (this.#fingers.size > 2) return;
    }
    if (this.#doing) return;
    const pans = event.button === 1 || (event.button === 0 && (this.#space || this.app.tool.name === "hand"));
    this.#downAt = { ...at, time: performance.now() };
    if (pans) {
      event.preventDefault();
      this.#doing = "pan";
      this.stage.classList.add("panning");
      return;
    }
    if (event.button !== 0 && event.button !== 2) return;
    this.#doing = "draw";
    this.#away = event.button === 2 || event.altKey || this.app.settings.away;
    const touch = event.pointerType === "touch";
    this.app.tool.down(this.#place(at, this.#away, touch, event.timeStamp));
    if (touch && this.app.tool.taps) {
      this.#press = window.setTimeout(() => {
        if (this.#doing !== "draw") return;
        navigator.vibrate?.(15);
        this.app.tool.cancel?.();
        this.#doing = "";
        const place = this.#place(at, !this.#away, false, performance.now());
        this.app.tool.down(place);
        this.app.tool.up(place);
      }, LONG_PRESS);
    }
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (!this.app.pictures.current?.width) return;
    const at = this.#stagePlace(event);
    if (this.#doing === "pinch") return this.#pinch(event.pointerId, at);
    if (this.#fingers.has(event.pointerId)) this.#fingers.set(event.pointerId, at);
    if (this.#doing === "pan") {
      this.app.view.pan(at.x - this.#downAt.x, at.y - this.#downAt.y);
      this.#downAt = { ...at, time: this.#downAt.time };
      return;
    }
    const touch = event.pointerType === "touch";
    if (this.#doing === "draw") {
      if (touch && Math.hypot(at.x - this.#downAt.x, at.y - this.#downAt.y) < STILL) return;
      clearTimeout(this.#press);
      for (const one of event.getCoalescedEvents?.() ?? [event]) {
        this.app.tool.move(this.#place(this.#stagePlace(one), this.#away, touch, event.timeStamp));
      }
      return;
    }
    if (touch) return;
    this.app.setAway(event.altKey);
    this.app.tool.hover?.(this.#place(at, this.app.takesAway, false, event.timeStamp));
  }

  /** @param {PointerEvent} event */
  #up(event) {
    clearTimeout(this.#press);
    const at = this.#stagePlace(event);
    this.#fingers.delete(event.pointerId);
    if (this.#doing === "draw") {
      this.#doing = "";
      this.app.tool.up(this.#place(at, this.#away, event.pointerType === "touch", event.timeStamp));
    } else if (this.#doing === "pan" || (this.#doing === "pinch" && this.#fingers.size === 0)) this.#doing = "";
    this.stage.classList.remove("panning");
  }

  /** @param {PointerEvent} event */
  #cancel(event) {
    clearTimeout(this.#press);
    this.#fingers.delete(event.pointerId);
    if (this.#doing === "draw") this.app.tool.cancel?.();
    if (this.#fingers.size === 0) this.#doing = "";
    this.stage.classList.remove("panning");
  }

  /**
   * @param {number} id
   * @param {{x: number, y: number}} at
   */
  #pinch(id, at) {
    if (!this.#fingers.has(id) || this.#fingers.size < 2) return;
    const before = spread(this.#fingers);
    this.#fingers.set(id, at);
    const after = spread(this.#fingers);
    this.app.view.pan(after.x - before.x, after.y - before.y);
    if (before.apart > 0) this.app.view.zoomTo((this.app.view.scale * after.apart) / before.apart, after.x, after.y);
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    if (!this.app.pictures.current?.width) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 32 : 1;
    const dx = event.deltaX * lines;
    const dy = event.deltaY * lines;
    // a touch pad's two fingers give small steps in any direction; a wheel gives large ones, up and down
    const fingers = event.deltaMode === 0 && (dx !== 0 || Math.abs(dy) < 50 || !Number.isInteger(dy));
    const { scrolling } = this.app.settings;
    const pans = !event.ctrlKey && !event.metaKey && (scrolling === "move" || (scrolling === "auto" && fingers));
    if (pans || event.shiftKey) {
      this.app.view.pan(event.shiftKey && !dx ? -dy : -dx, event.shiftKey ? 0 : -dy);
      return;
    }
    const at = this.#stagePlace(event);
    const factor = Math.exp(-Math.max(-240, Math.min(240, dy)) * (event.ctrlKey ? 0.01 : 0.002));
    this.app.view.zoomTo(this.app.view.scale * factor, at.x, at.y);
  }

  /**
   * Arrows move a crosshair, Enter presses there. With tools that draw, Enter begins a stroke and Enter ends it.
   *
   * @param {KeyboardEvent} event
   */
  #key(event) {
    const { view, tool, pictures } = this.app;
    if (!pictures.current?.width || event.ctrlKey || event.metaKey) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const arrow = arrows[/** @type {keyof typeof arrows} */ (event.key)];
    if (!arrow && event.key !== "Enter") return;
    event.preventDefault();
    const away = this.app.settings.away !== event.altKey;
    if (!this.cursor) {
      const { x, y, width, height } = view.room;
      const middle = view.toImage(x + width / 2, y + height / 2);
      this.cursor = { x: Math.floor(middle.x) + 0.5, y: Math.floor(middle.y) + 0.5 };
    }
    if (arrow) {
      const step = event.shiftKey ? 1 : Math.max(1, Math.round(12 / view.scale));
      const { width, height } = pictures.current;
      this.cursor.x = Math.max(0.5, Math.min(width - 0.5, this.cursor.x + arrow[0] * step));
      this.cursor.y = Math.max(0.5, Math.min(height - 0.5, this.cursor.y + arrow[1] * step));
      view.reveal(this.cursor.x, this.cursor.y);
    }
    const place = { ...this.cursor, away, touch: false, time: event.timeStamp };
    if (arrow && this.#cursorDown) tool.move(place);
    else if (arrow) tool.hover?.(place);
    else if (tool.taps) {
      tool.down(place);
      tool.up(place);
    } else if (this.#cursorDown) {
      this.#cursorDown = false;
      tool.up(place);
    } else {
      this.#cursorDown = true;
      tool.down(place);
      this.app.say("Started. Move with the arrow keys, press Enter to finish.");
    }
    this.app.events.emit("live");
  }

  #hideCursor() {
    if (!this.cursor) return;
    if (this.#cursorDown) this.app.tool.cancel?.();
    this.#cursorDown = false;
    this.cursor = null;
    this.app.tool.leave?.();
    this.app.events.emit("live");
  }

  /** @param {MouseEvent} event */
  #stagePlace(event) {
    const { left, top } = this.stage.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  /**
   * @param {{x: number, y: number}} at
   * @param {boolean} away
   * @param {boolean} touch
   * @param {number} time
   * @returns {Place}
   */
  #place(at, away, touch, time) {
    return { ...this.app.view.toImage(at.x, at.y), away, touch, time };
  }
}

/** @param {Map<number, {x: number, y: number}>} fingers */
function spread(fingers) {
  const [a, b] = [...fingers.values()];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
}
