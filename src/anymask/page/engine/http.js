// @ts-check
/** The server of `anymask serve`, asked over HTTP. */
import { BINARY, fromBinary } from "../wire.js";
import { EngineError, wasAborted } from "./engine.js";

/**
 * @typedef {import("./engine.js").Engine} Engine
 * @typedef {import("./engine.js").Job} Job
 * @typedef {import("./engine.js").Prompt} Prompt
 */

/** @implements {Engine} */
export class HttpEngine {
  /**
   * @param {URL | string} base where the server's paths start, with a slash at the end
   * @param {string} [token] needed where the server is not on this machine
   * @param {(address: URL, init?: RequestInit) => Promise<Response>} [fetcher] how to reach it; a notebook has its own way
   */
  constructor(base, token = "", fetcher = (address, init) => fetch(address, init)) {
    this.base = new URL(base);
    this.token = token;
    this.fetch = fetcher;
    this.runtimeUrl = new URL("runtime/", this.base).href;
  }

  async status() {
    return (await this.#ask("api/status")).json();
  }

  async reachable() {
    try {
      return (await this.fetch(new URL("health", this.base), { cache: "no-store" })).ok;
    } catch {
      return false;
    }
  }

  /**
   * @param {Blob} file
   * @param {string} name
   */
  async open(file, name) {
    const reply = await this.#ask(`api/images?name=${encodeURIComponent(name)}`, {
      method: "POST",
      body: file,
      headers: { "Content-Type": "application/octet-stream" },
    });
    return reply.json();
  }

  /** @param {string} id */
  async picture(id) {
    return (await this.#ask(`api/images/${id}/picture`)).blob();
  }

  /**
   * @param {string} id
   * @param {string} model
   * @param {(job: Job) => void} told
   * @param {AbortSignal} signal
   */
  async encode(id, model, told, signal) {
    const reply = await this.#post(`api/images/${id}/encode`, { model: model || undefined }, signal);
    if (reply.status === 202) await this.#follow(await reply.json(), told, signal);
  }

  /**
   * @param {string} id
   * @param {Prompt} prompt
   * @param {AbortSignal} [signal]
   */
  async decode(id, prompt, signal) {
    const reply = await this.#post(`api/images/${id}/decode`, prompt, signal, BINARY);
    return fromBinary(await reply.arrayBuffer());
  }

  /**
   * @param {string} id
   * @param {object} settings
   * @param {(job: Job) => void} told
   * @param {AbortSignal} signal
   */
  async everything(id, settings, told, signal) {
    const reply = await this.#post(`api/images/${id}/everything`, settings, signal);
    const job = await reply.json();
    await this.#follow(job, told, signal);
    const masks = await this.#ask(`api/jobs/${job.id}/masks`, { headers: { Accept: BINARY }, signal });
    return fromBinary(await masks.arrayBuffer());
  }

  /**
   * @param {string} id
   * @param {string} format
   * @param {import("./engine.js").ExportThing[]} objects
   */
  async export(id, format, objects) {
    const reply = await this.#post(`api/images/${id}/export`, { format, objects });
    const said = reply.headers.get("Content-Disposition") ?? "";
    const name = /filename\*=UTF-8''([^;]+)/i.exec(said)?.[1] ?? /filename="?([^";]+)/i.exec(said)?.[1] ?? "masks";
    return { blob: await reply.blob(), name: decodeURIComponent(name) };
  }

  /**
   * @param {string} id
   * @param {string} model
   */
  async embedding(id, model) {
    const reply = await this.#ask(`api/images/${id}/embedding?model=${encodeURIComponent(model)}`);
    return reply.arrayBuffer();
  }

  /** @param {string} model */
  async decoder(model) {
    return (await this.#ask(`api/models/${encodeURIComponent(model)}/decoder.onnx`)).arrayBuffer();
  }

  /**
   * Follows a job to its end through server-sent events; where the stream breaks, by asking. Aborting cancels the job.
   *
   * @param {Job} job
   * @param {(job: Job) => void} told
   * @param {AbortSignal} signal
   */
  async #follow(job, told, signal) {
    let now = job;
    told(now);
    try {
      while (now.state === "queued" || now.state === "running") {
        try {
          const reply = await this.#ask(`api/jobs/${job.id}/events`, { headers: { Accept: "text/event-stream" }, signal });
          for await (const event of events(reply)) told((now = event));
        } catch (error) {
          if (wasAborted(error) || (error instanceof EngineError && !error.unreachable)) throw error;
        }
        if (now.state === "queued" || now.state === "running") {
          now = await (await this.#ask(`api/jobs/${job.id}`, { signal })).json();
          told(now);
        }
      }
    } catch (error) {
      if (wasAborted(error)) this.#ask(`api/jobs/${job.id}`, { method: "DELETE" }).catch(() => {});
      throw error;
    }
    if (now.state === "cancelled") throw new DOMException("cancelled", "AbortError");
    if (now.state === "failed") throw new EngineError(now.message || "The work failed on the server.", { kind: "Failed" });
  }

  /**
   * @param {string} path
   * @param {object} body
   * @param {AbortSignal} [signal]
   * @param {string} [accept]
   */
  #post(path, body, signal, accept = "application/json") {
    const headers = { "Content-Type": "application/json", Accept: accept };
    return this.#ask(path, { method: "POST", body: JSON.stringify(body), headers, signal });
  }

  /**
   * @param {string} path
   * @param {RequestInit} [init]
   * @returns {Promise<Response>}
   */
  async #ask(path, init = {}) {
    const headers = new Headers(init.headers);
    if (this.token) headers.set("Authorization", `Bearer ${this.token}`);
    let reply;
    try {
      reply = await this.fetch(new URL(path, this.base), { ...init, headers });
    } catch (error) {
      if (wasAborted(error)) throw error;
      throw new EngineError("The server does not answer.", { kind: "Unreachable" });
    }
    if (reply.ok) return reply;
    /** @type {{error?: string, kind?: string}} */
    const said = await reply.json().catch(() => ({}));
    throw new EngineError(said.error ?? `The server answered ${reply.status}.`, {
      kind: said.kind,
      status: reply.status,
      retryAfter: Number(reply.headers.get("Retry-After")) || 1,
    });
  }
}

/**
 * The `data:` of each server-sent event.
 *
 * @param {Response} reply
 * @returns {AsyncGenerator<Job>}
 */
async function* events(reply) {
  if (!reply.body) return;
  const reader = reply.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      if (wasAborted(error)) throw error;
      throw new EngineError("The server does not answer.", { kind: "Unreachable" });
    }
    if (part.done) return;
    rest += decoder.decode(part.value, { stream: true }).replaceAll("\r\n", "\n");
    const blocks = rest.split("\n\n");
    rest = /** @type {string} */ (blocks.pop());
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}
