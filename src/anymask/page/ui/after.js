// @ts-check
/**
 * A function that does something once the masks have been painted, however often it is called until then: a mask is
 * waited for, what stands around it is not.
 *
 * @param {import("../app.js").App} app
 * @param {() => void} run
 */
export function afterPaint(app, run) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    app.render.painted(() => {
      due = false;
      run();
    });
  };
}
