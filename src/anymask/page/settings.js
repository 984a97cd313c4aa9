// @ts-check
/**
 * What stays as it was set, kept by the browser.
 *
 * @typedef {object} Settings
 * @property {number} opacity of masks, 0..1
 * @property {boolean} outline
 * @property {boolean} cutout the picture is shown only where masks are
 * @property {number} brush diameter in pixels of the picture
 * @property {boolean} exact a lasso's line is the mask's edge
 * @property {boolean} tidy specks and pinholes of the model's masks are removed
 * @property {boolean} away clicks take away
 * @property {boolean | null} panel the list of objects is open; null where there is room for it
 * @property {"auto" | "zoom" | "move"} scrolling
 * @property {"system" | "light" | "dark"} theme
 * @property {string} model empty for the server's own choice
 * @property {"auto" | "server" | "browser"} decoder where masks are computed
 */

const KEY = "anymask.settings";
/** Not kept: they belong to the work at hand. */
const PASSING = ["away", "cutout"];

/** @type {Settings} */
const FIRST = {
  opacity: 0.45, outline: true, cutout: false, brush: 24, exact: false, tidy: true, away: false, panel: null, scrolling: "auto",
  theme: "system", model: "", decoder: "auto",
};

/** @returns {Settings} */
export function loadSettings() {
  try {
    return checked({ ...FIRST, ...JSON.parse(localStorage.getItem(KEY) ?? "{}") });
  } catch {
    return { ...FIRST }; // storage is switched off, or what is there is not ours
  }
}

/** @param {Settings} settings */
export function saveSettings(settings) {
  const kept = Object.fromEntries(Object.entries(settings).filter(([name]) => !PASSING.includes(name)));
  try {
    localStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    // storage is switched off: settings last as long as the page
  }
}

/**
 * @param {Settings} settings
 * @returns {Settings}
 */
export function checked(settings) {
  const opacity = Math.round(Math.max(0, Math.min(1, Number(settings.opacity))) * 100) / 100;
  const brush = Math.round(Math.max(1, Math.min(400, Number(settings.brush))));
  return { ...settings, opacity: Number.isNaN(opacity) ? FIRST.opacity : opacity, brush: brush || FIRST.brush };
}
