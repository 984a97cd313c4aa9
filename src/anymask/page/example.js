// @ts-check
/** A scene to try the page with, drawn here: no file, nothing loaded. */

export const EXAMPLE = { width: 1440, height: 960 };

/** @returns {Promise<File>} */
export async function exampleFile() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [EXAMPLE.width, EXAMPLE.height];
  drawExample(/** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")));
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  return new File([/** @type {Blob} */ (blob)], "example.png", { type: "image/png" });
}

/**
 * A lake before mountains: a sun, a balloon, a sailing boat, a house and trees.
 *
 * @param {CanvasRenderingContext2D} to
 */
export function drawExample(to) {
  const { width, height } = EXAMPLE;
  to.fillStyle = fade(to, 0, 0, 0, 560, ["#f7c59b", "#f9dfc0", "#cfe3ee"]);
  to.fillRect(0, 0, width, height);
  disc(to, 1130, 190, 74, "#ffedb8");
  cloud(to, 250, 150, 1.1);
  cloud(to, 820, 105, 0.8);
  shape(to, [[0, 470], [170, 330], [330, 440], [520, 250], [720, 450], [900, 350], [1090, 470], [1270, 370], [1440, 470], [1440, 640], [0, 640]], fade(to, 0, 250, 0, 640, ["#7d8fb3", "#a9b9cf"]));
  shape(to, [[520, 250], [590, 320], [548, 342], [515, 318], [482, 350], [446, 322]], "#f3f5f8");
  shape(to, [[0, 560], [260, 470], [560, 545], [860, 490], [1190, 560], [1440, 500], [1440, 680], [0, 680]], fade(to, 0, 470, 0, 680, ["#6f9a78", "#5b8769"]));
  to.fillStyle = fade(to, 0, 610, 0, 960, ["#7fb4cf", "#3f7fa6", "#2d6389"]);
  to.fillRect(0, 610, width, 350);
  for (let row = 0; row < 26; row++) {
    to.fillStyle = `rgb(255 255 255 / ${row % 3 ? 10 : 18}%)`;
    to.fillRect(((row * 397) % 1300) + 20, 632 + row * 12, 60 + ((row * 53) % 120), 2.5);
  }
  shape(to, [[0, 780], [200, 740], [430, 800], [560, 960], [0, 960]], fade(to, 0, 740, 0, 960, ["#8ab06a", "#5e8a4c"]));
  house(to, 130, 640);
  for (const [x, y, size] of [[420, 745, 1], [62, 735, 0.86], [350, 812, 0.72]]) tree(to, x, y, size);
  balloon(to, 700, 190);
  boat(to, 960, 700);
  for (const [x, y] of [[520, 880], [560, 905], [492, 922]]) disc(to, x, y, 16, "#8d8f96");
}

/**
 * @param {CanvasRenderingContext2D} to
 * @param {number} x0
 * @param {number} y0
 * @param {number} x1
 * @param {number} y1
 * @param {string[]} colours
 */
function fade(to, x0, y0, x1, y1, colours) {
  const gradient = to.createLinearGradient(x0, y0, x1, y1);
  colours.forEach((colour, place) => gradient.addColorStop(place / (colours.length - 1), colour));
  return gradient;
}

/**
 * @param {CanvasRenderingContext2D} to
 * @param {number[][]} corners
 * @param {string | CanvasGradient} paint
 */
function shape(to, corners, paint) {
  to.beginPath();
  for (const [x, y] of corners) to.lineTo(x, y);
  to.closePath();
  to.fillStyle = paint;
  to.fill();
}

/**
 * @param {CanvasRenderingContext2D} to
 * @param {number} x
 * @param {number} y
 * @param {number} radius
 * @param {string | CanvasGradient} paint
 */
function disc(to, x, y, radius, paint) {
  to.beginPath();
  to.arc(x, y, radius, 0, 7);
  to.fillStyle = paint;
  to.fill();
}

/**
 * @param {CanvasRenderingContext2D} to
 * @param {number} x
 * @param {number} y
 * @param {number} size
 */
function cloud(to, x, y, size) {
  for (const [dx, dy, radius] of [[-62, 12, 34], [-18, -12, 48], [36, 0, 40], [74, 14, 28]]) {
    disc(to, x + dx * size, y + dy * size, radius * size, "#fffaf3");
  }
}

/**
 * @param {CanvasRenderingContext2D} to
 * @param {number} x
 * @param {number} y
 */
function house(to, x, y) {
  to.fillStyle = "#f1e4d0";
  to.fillRect(x, y, 190, 140);
  shape(to, [[x - 22, y + 6], [x + 95, y - 84], [x + 212, y + 6]], "#b9503c");
  to.fillStyle = "#8a3a2c";
  to.fillRect(x + 138, y - 92, 24, 58);
  to.fillStyle = "#5b3d2e";
  to.fillRect(x + 26, y + 60, 42, 80);
  to.fillStyle = "#8fc1d9";
  to.fillRect(x + 102, y + 44, 58, 48);
  to.fillStyle = "#fffaf3";
  to.fillRect(x + 128, y + 44, 6, 48);
  to.fillRect(x + 102, y + 65, 58, 6);
  disc(to, x + 58, y + 102, 4, "#e0b04b");
}

/**
 * @param {CanvasRenderingContext2D} to
 * @param {number} x
 * @param {number} y
 * @param {number} size
 */
function tree(to, x, y, size) {
  to.fillStyle = "#6b4a35";
  to.fillRect(x - 9 * size, y, 18 * size, 52 * size);
  for (const [dy, half, tone] of /** @type {[number, number, string][]} */ ([[20, 66, "#2f6b4a"], [-30, 54, "#3a7a55"], [-76, 40, "#468a61"]])) {
    shape(to, [[x - half * size, y + dy * size], [x, y + (dy - 82) * size], [x + half * size, y + dy * size]], tone);
  }
}

/**
 * @param {CanvasRenderingContext2D} to
 * @param {number} x
 * @param {number} y
 */
function balloon(to, x, y) {
  to.save();
  to.beginPath();
  to.ellipse(x, y, 82, 92, 0, 0, 7);
  to.clip();
  ["#d8493f", "#f3b33d", "#d8493f", "#f3b33d", "#d8493f"].forEach((paint, place) => {
    to.fillStyle = paint;
    to.fillRect(x - 82 + place * 33, y - 92, 34, 184);
  });
  to.fillStyle = fade(to, x - 82, 0, x + 82, 0, ["#ffffff40", "#00000000", "#00000038"]);
  to.fillRect(x - 82, y - 92, 164, 184);
  to.restore();
  to.strokeStyle = "#5b4636";
  to.lineWidth = 3;
  to.beginPath();
  for (const side of [-1, 1]) {
    to.moveTo(x + side * 44, y + 76);
    to.lineTo(x + side * 20, y + 136);
  }
  to.stroke();
  to.fillStyle = "#7a5235";
  to.fillRect(x - 23, y + 134, 46, 34);
  to.fillStyle = "#a8764e";
  to.fillRect(x - 26, y + 130, 52, 9);
}

/**
 * @param {CanvasRenderingContext2D} to
 * @param {number} x
 * @param {number} y
 */
function boat(to, x, y) {
  to.fillStyle = "#4a352a";
  to.fillRect(x - 4, y - 210, 8, 222);
  shape(to, [[x + 10, y - 200], [x + 128, y - 8], [x + 10, y - 8]], "#fbf7ef");
  shape(to, [[x - 10, y - 172], [x - 10, y - 8], [x - 92, y - 8]], "#e9573f");
  shape(to, [[x - 118, y + 8], [x + 142, y + 8], [x + 96, y + 66], [x - 78, y + 66]], "#274c77");
  shape(to, [[x - 118, y + 8], [x + 142, y + 8], [x + 130, y + 24], [x - 107, y + 24]], "#f4f1ea");
  to.fillStyle = "rgb(20 45 70 / 25%)";
  to.beginPath();
  to.ellipse(x + 10, y + 72, 130, 9, 0, 0, 7);
  to.fill();
}
