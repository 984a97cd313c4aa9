// @ts-check
/**
 * The mask decoder in this browser: onnxruntime-web with the decoder that the server exports and the picture's embedding.
 * Needs onnxruntime-web's files at the server's /runtime/ (`anymask serve --runtime FOLDER`).
 *
 * @typedef {import("./engine.js").Prompt} Prompt
 * @typedef {import("./engine.js").Engine} Engine
 * @typedef {import("./clicks.js").Option} Option
 * @typedef {{name: string, dims: number[], data: Float32Array}} Plain
 * @typedef {{tensors: Plain[], frame: import("./upscale.js").Frame}} Embedded
 */
import { agreement, settle } from "./clicks.js";
import { EngineError } from "./engine.js";
import { upscaled } from "./upscale.js";

const KEPT = 128; // answers that later clicks may build on
const STRONGEST = 20; // logits fed back are held within this
/** Answers given here are told apart from the server's by their names. */
export const HERE = "here:";

export class BrowserDecoder {
  /** @type {any} onnxruntime-web's module */
  #ort = null;
  /** @type {any} */
  #session = null;
  /** @type {Map<string, Option[]>} */
  #answers = new Map();
  /** @type {WeakMap<object, Promise<Embedded>>} */
  #embedded = new WeakMap();
  #asked = 0;
  /** @type {Promise<unknown>} one run at a time: a session cannot be shared */
  #turn = Promise.resolve();

  /**
   * @param {Engine} engine
   * @param {string} model
   */
  constructor(engine, model) {
    this.engine = engine;
    this.model = model;
    this.where = "";
  }

  /** Loads runtime and decoder; raises where either is missing. */
  async load() {
    const { runtimeUrl } = this.engine;
    const decoder = await this.engine.decoder?.(this.model);
    if (!runtimeUrl || !decoder) throw new EngineError("there is no runtime for this browser");
    const gpu = await /** @type {any} */ (navigator).gpu?.requestAdapter?.().catch(() => null);
    for (const way of gpu ? ["webgpu", "wasm"] : ["wasm"]) {
      try {
        this.#ort = await import(new URL(`ort.${way}.min.mjs`, runtimeUrl).href);
        this.#ort.env.wasm.wasmPaths = runtimeUrl;
        this.#ort.env.wasm.numThreads = crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
        this.#session = await this.#ort.InferenceSession.create(new Uint8Array(decoder), { executionProviders: [way] });
        this.where = way === "webgpu" ? "WebGPU" : `WebAssembly, ${this.#ort.env.wasm.numThreads} threads`;
        return;
      } catch (error) {
        if (way === "wasm") throw new EngineError(`the decoder does not run in this browser: ${error}`);
      }
    }
  }

  /**
   * @param {import("../pictures.js").Picture} picture
   * @returns {Promise<Embedded>}
   */
  embedded(picture) {
    let found = this.#embedded.get(picture);
    if (!found) {
      found = /** @type {NonNullable<Engine["embedding"]>} */ (this.engine.embedding).call(this.engine, picture.id, this.model).then(parsed);
      this.#embedded.set(picture, found);
      found.catch(() => this.#embedded.delete(picture));
    }
    return found;
  }

  /** @param {string} answer */
  knows(answer) {
    return this.#answers.has(answer);
  }

  /**
   * @param {import("../pictures.js").Picture} picture
   * @param {Prompt} prompt points and a box, no drawn mask
   * @returns {Promise<import("../wire.js").Answer>}
   */
  async decode(picture, prompt) {
    const embedded = await this.embedded(picture);
    const points = prompt.points ?? [];
    const labels = prompt.labels ?? points.map(() => 1);
    const lone = points.length === 1 && !prompt.box;
    const before = prompt.previous && this.#answers.get(prompt.previous.answer)?.[prompt.previous.candidate];
    if (prompt.previous && !before) throw new EngineError("ask again without previous", { status: 409 });
    if (!before || lone) {
      const found = await this.#ask(embedded, points, labels, prompt.box ?? null, null);
      const ranked = lone ? best(found.slice(1)) : found.slice(0, 1);
      return this.#answer(embedded, prompt.best ? ranked.slice(0, 1) : ranked, "", prompt.best);
    }
    const back = (await this.#ask(embedded, points, labels, prompt.box ?? null, before.logits)).map((row) => seen(row, embedded));
    const options = [back[0], ...best(back.slice(1))];
    if (options.every((option) => agreement(option, points, labels) < points.length)) {
      const fresh = await this.#ask(embedded, points, labels, prompt.box ?? null, null);
      options.push(seen(fresh[0], embedded));
    }
    const { ranked, note } = settle([...options, before], points, labels, before);
    return this.#answer(embedded, ranked, note, false);
  }

  /**
   * @param {Embedded} embedded
   * @param {(Row | Option)[]} rows
   * @param {string} note
   * @param {boolean} [passing]
   */
  #answer(embedded, rows, note, passing) {
    const options = rows.map((row) => seen(row, embedded));
    const id = passing ? "" : `${HERE}${++this.#asked}`;
    if (id) this.#answers.set(id, options);
    for (const old of this.#answers.keys()) {
      if (this.#answers.size <= KEPT) break;
      this.#answers.delete(old);
    }
    return { id, note, masks: options.map(({ mask, score }) => ({ mask, score, parent: null })) };
  }

  /**
   * One run of the decoder; row 0 is the single answer, 1 to 3 are candidates.
   *
   * @param {Embedded} embedded
   * @param {[number, number][]} points
   * @param {number[]} labels
   * @param {[number, number, number, number] | null} box
   * @param {Float32Array | null} logits
   * @returns {Promise<Row[]>}
   */
  #ask({ tensors, frame }, points, labels, box, logits) {
    const [sy, sx] = [frame.resized[0] / frame.original[0], frame.resized[1] / frame.original[1]];
    const places = points.flatMap(([x, y]) => [x * sx, y * sy]);
    const kinds = [...labels];
    if (box) {
      places.push(box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy);
      kinds.push(2, 3);
    } else {
      places.push(0, 0);
      kinds.push(-1);
    }
    const { Tensor } = this.#ort;
    const image = /** @type {Plain} */ (tensors.find((one) => one.name === "image"));
    const [rows, columns] = [4 * image.dims[2], 4 * image.dims[3]];
    /** @type {Record<string, any>} */
    const feeds = {
      image_embeddings: new Tensor("float32", image.data, image.dims),
      point_coords: new Tensor("float32", Float32Array.from(places), [1, kinds.length, 2]),
      point_labels: new Tensor("float32", Float32Array.from(kinds), [1, kinds.length]),
      mask_input: new Tensor("float32", logits ?? new Float32Array(rows * columns), [1, 1, rows, columns]),
      has_mask_input: new Tensor("float32", Float32Array.of(logits ? 1 : 0), [1]),
    };
    for (const { name, data, dims } of tensors) {
      if (this.#session.inputNames.includes(name)) feeds[name] = new Tensor("float32", data, dims);
    }
    const run = async () => {
      const answer = await this.#session.run(feeds);
      const low = /** @type {Float32Array} */ (answer.low_res_masks.data);
      const scores = /** @type {Float32Array} */ (answer.iou_predictions.data);
      return Array.from(scores, (score, place) => {
        const piece = low.slice(place * rows * columns, (place + 1) * rows * columns);
        for (let i = 0; i < piece.length; i++) piece[i] = Math.max(-STRONGEST, Math.min(STRONGEST, piece[i]));
        return { score, logits: piece, rows, columns };
      });
    };
    const mine = this.#turn.then(run);
    this.#turn = mine.catch(() => {});
    return mine;
  }
}

/** @typedef {{score: number, logits: Float32Array, rows: number, columns: number}} Row */

/**
 * @template {{score: number}} T
 * @param {T[]} rows
 */
function best(rows) {
  return [...rows].sort((a, b) => b.score - a.score);
}

/**
 * @param {Row | Option} row
 * @param {Embedded} embedded
 * @returns {Option}
 */
function seen(row, { frame }) {
  if ("mask" in row) return row;
  return { score: row.score, logits: row.logits, mask: upscaled(row.logits, row.rows, row.columns, frame) };
}

/**
 * A safetensors file: length of the header, header, numbers.
 *
 * @param {ArrayBuffer} buffer
 * @returns {Embedded}
 */
export function parsed(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const [original, resized, padded] = JSON.parse(header.__metadata__.resize);
  const tensors = Object.entries(header).filter(([name]) => name !== "__metadata__").map(([name, one]) => {
    const [from, to] = one.data_offsets;
    if (one.dtype !== "F32") throw new EngineError(`the embedding is ${one.dtype}, which this page does not read`);
    // a copy, since numbers of four bytes must start at a multiple of four
    return { name, dims: one.shape, data: new Float32Array(buffer.slice(8 + length + from, 8 + length + to)) };
  });
  return { tensors, frame: { original, resized, padded } };
}
