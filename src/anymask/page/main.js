// @ts-check
/** The page of `anymask serve`: the app over HTTP in the whole window. */
import { createApp } from "./app.js";
import { HttpEngine } from "./engine/http.js";

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
const asked = new URLSearchParams(location.search);
const engine = new HttpEngine(new URL("./", document.baseURI));

/** @type {number[]} */
const timings = [];
const timed = asked.has("timings") ? (/** @type {number} */ ms) => void timings.push(ms) : undefined;
const app = createApp(root, engine, { keys: window, timed });
const bar = /** @type {HTMLMetaElement} */ (document.querySelector("meta[name=theme-color]"));
const paint = () => (bar.content = getComputedStyle(root).backgroundColor);
app.events.on("theme", paint);
paint();
if (timed) Object.assign(window, { anymaskTimings: timings });
if (asked.has("hooks")) Object.assign(window, { anymaskApp: app });
