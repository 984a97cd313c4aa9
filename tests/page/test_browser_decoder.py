"""The decoder in the browser against the one on the server."""

from __future__ import annotations


def test_masks_of_the_browser_are_those_of_the_server(opened, picture, with_runtime):
    page = opened(picture, url=with_runtime.url)
    page.wait("app.decoders.report.startsWith('Measured')")
    page.app("app.set({ decoder: 'browser' })")
    page.wait("app.decoders.report.startsWith('Here') && app.decoders.way === 'browser'")
    compared = page.tab.evaluate(
        """async () => {
            const { iou } = await import("/rle.js");
            const { decoders, engine, pictures } = window.anymaskApp;
            const picture = pictures.current;
            const found = [];
            const first = [{ points: [[320.5, 150.5]], labels: [1] }, { box: [285, 118, 345, 396] }];
            for (const prompt of first) {
                const here = await decoders.decode(picture, prompt);
                const there = await engine.decode(picture.id, prompt);
                const points = [...(prompt.points ?? []), [320.5, 380.5]];
                const more = { ...prompt, points, labels: [...(prompt.labels ?? []), 0] };
                const next = [
                    await decoders.decode(picture, { ...more, previous: { answer: here.id, candidate: 0 } }),
                    await engine.decode(picture.id, { ...more, previous: { answer: there.id, candidate: 0 } }),
                ];
                for (const [a, b] of [[here, there], next]) {
                    found.push([a.id.slice(0, 5), a.masks.length - b.masks.length, a.note === b.note,
                        Math.min(...a.masks.map((one, at) => iou(one.mask, b.masks[at].mask))),
                        Math.max(...a.masks.map((one, at) => Math.abs(one.score - b.masks[at].score)))]);
                }
            }
            return found;
        }"""
    )
    for where, more, same_note, overlap, score in compared:
        assert where == "here:" and more == 0 and same_note
        # single pixels along the edges: the browser interpolates once, the official code twice
        assert overlap > 0.97 and score < 1e-3


def test_when_the_browser_fails_the_server_answers(opened, picture, with_runtime):
    page = opened(picture, url=with_runtime.url)
    page.app("app.set({ decoder: 'browser' })")
    page.wait("app.decoders.way === 'browser'")
    page.click(320, 150)
    assert page.app("app.doc.things[0].answer").startswith("here:")
    # the object is finished on the server: its earlier clicks are asked there again
    page.app("app.decoders.fail()")
    page.click(60, 60)
    thing = page.app("app.doc.things[0]")
    assert len(thing["points"]) == 2 and not thing["answer"].startswith("here:")
