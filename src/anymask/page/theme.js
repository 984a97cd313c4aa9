// @ts-check
/** Light and dark: as the system has it, until one is chosen. */

export class Theme {
  /**
   * @param {import("./app.js").App} app
   */
  constructor(app) {
    this.app = app;
    this.system = matchMedia("(prefers-color-scheme: dark)");
    this.system.addEventListener("change", () => this.apply());
    this.apply();
  }

  get dark() {
    const { theme } = this.app.settings;
    return theme === "system" ? this.system.matches : theme === "dark";
  }

  toggle() {
    this.app.set({ theme: this.dark ? "light" : "dark" });
  }

  apply() {
    this.app.root.dataset.theme = this.dark ? "dark" : "light";
    const bar = this.app.root.ownerDocument.querySelector("meta[name=theme-color]");
    bar?.setAttribute("content", this.dark ? "#121418" : "#eceef1");
    this.app.events.emit("theme");
  }
}
