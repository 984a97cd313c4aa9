// @ts-check
/** Which part of the picture is seen and how large: image pixels to CSS pixels of the stage, and back. */

const LARGEST = 64; // CSS pixels for one pixel of the picture
const SMALLEST_SHARE = 0.4; // of the size that fits

/** @typedef {{left: number, top: number, right: number, bottom: number}} Insets what covers the stage's edges */

export class Viewport {
  scale = 1;
  x = 0; // where the picture's left edge lies on the stage
  y = 0;
  stage = { width: 1, height: 1 };
  image = { width: 1, height: 1 };
  /** @type {Insets} */
  insets = { left: 0, top: 0, right: 0, bottom: 0 };
  /** The picture is shown whole, and stays so when the window changes. */
  fitted = true;

  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
  }

  /** The scale at which the whole picture is seen. */
  get fit() {
    const { width, height } = this.room;
    return Math.min(width / this.image.width, height / this.image.height, 8);
  }

  /** The part of the stage that nothing covers. */
  get room() {
    const { left, top, right, bottom } = this.insets;
    return {
      x: left,
      y: top,
      width: Math.max(40, this.stage.width - left - right),
      height: Math.max(40, this.stage.height - top - bottom),
    };
  }

  /**
   * @param {number} width
   * @param {number} height
   * @param {Insets} insets
   */
  resize(width, height, insets) {
    this.stage = { width, height };
    this.insets = insets;
    if (this.fitted) this.showAll();
    else this.#move(this.x, this.y);
  }

  /**
   * @param {number} width
   * @param {number} height
   */
  open(width, height) {
    this.image = { width, height };
    this.showAll();
  }

  showAll() {
    const { x, y, width, height } = this.room;
    this.scale = this.fit;
    this.fitted = true;
    this.x = x + (width - this.image.width * this.scale) / 2;
    this.y = y + (height - this.image.height * this.scale) / 2;
    this.changed();
  }

  /**
   * @param {number} scale
   * @param {number} [sx] the place on the stage that stays where it is; the middle when left out
   * @param {number} [sy]
   */
  zoomTo(scale, sx = this.room.x + this.room.width / 2, sy = this.room.y + this.room.height / 2) {
    const wanted = Math.max(this.fit * SMALLEST_SHARE, Math.min(LARGEST, scale));
    const ratio = wanted / this.scale;
    this.scale = wanted;
    this.fitted = false;
    this.#move(sx - (sx - this.x) * ratio, sy - (sy - this.y) * ratio);
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  pan(dx, dy) {
    this.fitted = false;
    this.#move(this.x + dx, this.y + dy);
  }

  /**
   * Brings a place of the picture into view.
   *
   * @param {number} x
   * @param {number} y
   */
  reveal(x, y) {
    const at = this.toStage(x, y);
    const { x: left, y: top, width, height } = this.room;
    const margin = 24;
    const dx = Math.max(left + margin - at.x, 0) + Math.min(left + width - margin - at.x, 0);
    const dy = Math.max(top + margin - at.y, 0) + Math.min(top + height - margin - at.y, 0);
    if (dx || dy) this.pan(dx, dy);
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  toImage(x, y) {
    return { x: (x - this.x) / this.scale, y: (y - this.y) / this.scale };
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  toStage(x, y) {
    return { x: x * this.scale + this.x, y: y * this.scale + this.y };
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  #move(x, y) {
    // some of the picture always stays within reach
    const keep = 80;
    const { x: left, y: top, width, height } = this.room;
    this.x = Math.min(left + width - keep, Math.max(left + keep - this.image.width * this.scale, x));
    this.y = Math.min(top + height - keep, Math.max(top + keep - this.image.height * this.scale, y));
    this.changed();
  }
}
