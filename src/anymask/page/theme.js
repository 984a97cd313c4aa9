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
    this.app.events.emit("theme");
  }
}
