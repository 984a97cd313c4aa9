// @ts-check
/**
 * `fetch` to the Python process of a notebook, over the channel that widgets have: no port, so it works wherever the
 * notebook does.
 *
 * @typedef {object} Channel an anywidget model
 * @property {(content: object, callbacks?: object, buffers?: ArrayBuffer[]) => void} send
 * @property {(event: string, listener: (content: any, buffers: DataView[]) => void) => void} on
 */

/**
 * @param {Channel} channel
 * @returns {(address: URL, init?: RequestInit) => Promise<Response>}
 */
export function commFetch(channel) {
  let numbers = 0;
  /** @type {Map<number, {head: (status: number, headers: [string, string][]) => void, body: (part: Uint8Array) => void, end: () => void}>} */
  const open = new Map();

  channel.on("msg:custom", (content, buffers) => {
    const request = open.get(content.id);
    if (!request) return;
    if (content.kind === "head") request.head(content.status, content.headers);
    else if (content.kind === "body") request.body(bytes(buffers[0]));
    else if (content.kind === "end") {
      request.end();
      open.delete(content.id);
    }
  });

  return async (address, init = {}) => {
    const { signal } = init;
    signal?.throwIfAborted();
    const id = ++numbers;
    const body = init.body === undefined || init.body === null ? null : await new Response(init.body).arrayBuffer();
    return new Promise((answered, refused) => {
      /** @type {ReadableStreamDefaultController<Uint8Array>} */
      let stream;
      const content = new ReadableStream({ start: (controller) => void (stream = controller) });
      const stop = () => {
        channel.send({ id, kind: "abort" });
        open.delete(id);
        refused(signal?.reason);
        try {
          stream.error(signal?.reason);
        } catch {
          // it has ended already
        }
      };
      signal?.addEventListener("abort", stop, { once: true });
      open.set(id, {
        head: (status, headers) => {
          const empty = status === 204 || status === 304;
          answered(new Response(empty ? null : content, { status, headers }));
        },
        body: (part) => stream.enqueue(part),
        end: () => {
          signal?.removeEventListener("abort", stop);
          stream.close();
        },
      });
      const headers = [...new Headers(init.headers)];
      const path = address.pathname + address.search;
      channel.send({ id, kind: "request", method: init.method ?? "GET", path, headers }, undefined, body ? [body] : []);
    });
  };
}

/** @param {DataView | ArrayBuffer} buffer */
function bytes(buffer) {
  // a copy: what the channel hands out may be used again by it
  return buffer instanceof DataView
    ? new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength).slice()
    : new Uint8Array(buffer).slice();
}
