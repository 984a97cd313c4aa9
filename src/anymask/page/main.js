// @ts-check
/** The page of `anymask serve`: the app over HTTP in the whole window. */
import { createApp } from "./app.js";
import { HttpEngine } from "./engine/http.js";

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
const asked = new URLSearchParams(location.search);
const given = new URLSearchParams(location.hash.slice(1)).get("token") ?? asked.get("token") ?? "";
if (given) {
  // the address may be shown to others, or kept in the history: the token is not
  sessionStorage.setItem("anymask.token", given);
  asked.delete("token");
  history.replaceState(null, "", `${location.pathname}${asked.size ? `?${asked}` : ""}`);
}
const engine = new HttpEngine(new URL("./", document.baseURI), given || (sessionStorage.getItem("anymask.token") ?? ""));

/** @type {number[]} */
const timings = [];
const timed = asked.has("timings") ? (/** @type {number} */ ms) => void timings.push(ms) : undefined;
const app = createApp(root, engine, { keys: window, timed });
if (timed) Object.assign(window, { anymaskTimings: timings });
if (asked.has("hooks")) Object.assign(window, { anymaskApp: app });
