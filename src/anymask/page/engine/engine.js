// @ts-check
/**
 * What the page asks of whoever computes masks. The server over HTTP is one (`http.js`); a notebook may bring another.
 *
 * @typedef {import("../wire.js").Answer} Answer
 * @typedef {import("../rle.js").Mask} Mask
 *
 * @typedef {object} Model
 * @property {string} name
 * @property {number} [parameters]
 * @property {string} [licence]
 * @property {string[]} [prompts]
 * @property {boolean} [ready]
 *
 * @typedef {object} Status
 * @property {string} version
 * @property {string} default_model
 * @property {Model[]} models
 * @property {{max_bytes: number, max_pixels: number}} limits
 * @property {boolean} browser_decoder
 *
 * @typedef {object} Prompt coordinates in pixels of the original picture
 * @property {string} [model]
 * @property {[number, number][]} [points]
 * @property {number[]} [labels]
 * @property {[number, number, number, number]} [box]
 * @property {{size: number[], counts: string}} [mask]
 * @property {{answer: string, candidate: number}} [previous]
 * @property {boolean} [multimask]
 * @property {boolean} [best]
 *
 * @typedef {object} Opened
 * @property {string} id
 * @property {number} width
 * @property {number} height
 * @property {string} name
 *
 * @typedef {object} Job
 * @property {string} id
 * @property {string} state queued, running, done, failed or cancelled
 * @property {number | null} progress 0..1, or null where it cannot be told
 * @property {number | null} [position]
 * @property {string} [message]
 * @property {number | null} [expected_seconds]
 *
 * @typedef {object} ExportThing
 * @property {string} name
 * @property {string} colour
 * @property {{size: number[], counts: string}} mask
 *
 * @typedef {object} Engine
 * @property {() => Promise<Status>} status
 * @property {() => Promise<boolean>} reachable
 * @property {(file: Blob, name: string) => Promise<Opened>} open
 * @property {(id: string) => Promise<Blob>} picture
 * @property {(id: string, model: string, told: (job: Job) => void, signal: AbortSignal) => Promise<void>} encode
 * @property {(id: string, prompt: Prompt, signal?: AbortSignal) => Promise<Answer>} decode
 * @property {(id: string, settings: object, told: (job: Job) => void, signal: AbortSignal) => Promise<Answer>} everything
 * @property {(id: string, format: string, things: ExportThing[]) => Promise<{blob: Blob, name: string}>} export
 * @property {(id: string, model: string) => Promise<ArrayBuffer>} [embedding]
 * @property {(model: string) => Promise<ArrayBuffer>} [decoder] the decoder part as ONNX
 * @property {string} [runtimeUrl] where onnxruntime-web's files are
 */

/** What went wrong, as one sentence to show and a kind to act on. */
export class EngineError extends Error {
  /**
   * @param {string} message
   * @param {{kind?: string, status?: number, retryAfter?: number}} [more]
   */
  constructor(message, { kind = "Error", status = 0, retryAfter = 0 } = {}) {
    super(message);
    this.kind = kind;
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Nobody answered at all. */
  get unreachable() {
    return this.kind === "Unreachable";
  }

  /** The server is there and has too much to do. */
  get busy() {
    return this.status === 429 || this.status === 503;
  }

  /** The server no longer has the picture. */
  get forgotten() {
    return this.status === 404;
  }

  /** The server no longer has the answer that a question built on. */
  get stale() {
    return this.status === 409;
  }
}

/** @param {unknown} error */
export function wasAborted(error) {
  return error instanceof DOMException && error.name === "AbortError";
}
