// @ts-check
/** Files and folders dropped on the app, and pictures pasted into it. */
import { el } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @param {import("../app.js").App} app
 * @param {HTMLElement} root
 */
export function drop(app, root) {
  const veil = el("div", { class: "veil", hidden: true }, el("div", {}, icon("picture"), el("strong", { text: "Drop pictures or folders" })));
  root.append(veil);
  let inside = 0;
  const carries = (/** @type {DragEvent} */ event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  root.addEventListener("dragenter", (event) => {
    if (!carries(event)) return;
    inside += 1;
    veil.hidden = false;
  });
  root.addEventListener("dragleave", () => {
    inside = Math.max(0, inside - 1);
    veil.hidden = inside === 0;
  });
  root.addEventListener("dragover", (event) => {
    if (carries(event)) event.preventDefault();
  });
  root.addEventListener("drop", async (event) => {
    inside = 0;
    veil.hidden = true;
    if (!event.dataTransfer || !carries(event)) return;
    event.preventDefault();
    // entries must be asked for before the first await, or they are gone
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.() ?? null);
    const files = [...event.dataTransfer.files];
    const folders = entries.some((entry) => entry?.isDirectory);
    app.take(folders ? (await Promise.all(entries.map(walk))).flat() : files);
  });
  const target = app.options.keys ?? root;
  target.addEventListener("paste", (given) => {
    const event = /** @type {ClipboardEvent} */ (given);
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    app.take(files);
  });
}

/**
 * @param {FileSystemEntry | null} entry
 * @returns {Promise<File[]>}
 */
async function walk(entry) {
  if (!entry) return [];
  if (entry.isFile) {
    return new Promise((done) => /** @type {FileSystemFileEntry} */ (entry).file((file) => done([file]), () => done([])));
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  /** @type {FileSystemEntry[]} */
  const all = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((done) => reader.readEntries(done, () => done([])));
    if (!some.length) break;
    all.push(...some);
  }
  return (await Promise.all(all.map(walk))).flat();
}
