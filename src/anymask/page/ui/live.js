// @ts-check
/** What has happened: spoken to screen readers, and shown as toasts when it is worth a look. */
import { el } from "./dom.js";
import { icon } from "./icons.js";

const STAYS = 4200; // ms
const BAD_STAYS = 9000;
const MOST = 3;

/** @param {import("../app.js").App} app */
export function live(app) {
  const spoken = el("div", { class: "spoken", "aria-live": "polite", role: "status" });
  const toasts = el("div", { class: "toasts" });
  const banner = el("div", { class: "banner", role: "alert", hidden: true }, icon("offline"),
    el("span", { text: "The server does not answer. Your work is kept; trying again until it does." }));

  app.events.on("say", ({ text, seen, bad }) => {
    spoken.textContent = text;
    if (!seen) return;
    for (const other of toasts.children) if (other.textContent === text) other.remove();
    const toast = el("div", { class: `toast ${bad ? "bad" : ""}` }, el("span", { text }),
      el("button", { type: "button", class: "button small", "aria-label": "Dismiss", on: { click: () => toast.remove() } }, icon("close")));
    toasts.append(toast);
    while (toasts.children.length > MOST) toasts.firstElementChild?.remove();
    setTimeout(() => toast.remove(), bad ? BAD_STAYS : STAYS);
  });
  app.events.on("busy", (text) => app.say(text, true));
  app.events.on("offline", () => (banner.hidden = false));
  app.events.on("online", () => {
    banner.hidden = true;
    app.say("The server is back.", true);
  });
  return [spoken, banner, toasts];
}
