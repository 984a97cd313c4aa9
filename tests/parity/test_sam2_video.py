"""SAM 2 follows objects as the official package and transformers do, step by step from the same memories."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from sam2_cases import SIDE, official, picture, relative, transformers_config

from anymask.models.load import load
from anymask.models.video import Recalled, VideoModel
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4
"""Of memory features and object pointers."""
LOGITS = 1e-4
"""Of the largest logit of a frame, from the same memories; a propagation of its own adds up to 1e-3."""
FRAMES = 12
OFTEN = {"2.1": [-0.62], "2": [-0.38]}
"""What noise says of objects' presence in the network of transformers."""


@dataclass
class Step:
    """One object on one frame, as the other side answered.

    prompted, others: {frame: (memory features [C, h, w] as kept, pointer [C])} of what it had in memory.
    points: [1, K, 2] in the model's frame with labels, boxes being points too; earlier: logits that were fed back.
    memory: unrounded features of this answer, if they were made at once.
    """

    frame: int
    first: bool
    reverse: bool
    prompted: dict
    others: dict
    points: torch.Tensor | None
    labels: torch.Tensor | None
    earlier: torch.Tensor | None
    drawn: bool
    logits: torch.Tensor
    pointer: torch.Tensor
    presence: float
    memory: torch.Tensor | None

    def recalled(self, clip: int) -> Recalled:
        """By the paper: all prompted frames, the six before; pointers of prompted ones in the past, and 15 before."""
        if self.first:
            return Recalled()
        way = -1 if self.reverse else 1
        features = [(maps, 0) for maps, _ in self.prompted.values()]
        features += [
            (self.others[self.frame - way * slot][0], slot)
            for slot in range(6, 0, -1)
            if self.frame - way * slot in self.others
        ]
        past = {frame: (self.frame - frame) * way for frame in self.prompted if (self.frame - frame) * way >= 0}
        pointers = [(self.prompted[frame][1], far) for frame, far in past.items()]
        reach = min(15, clip - 1)
        pointers += [
            (self.others[self.frame - way * far][1], far)
            for far in range(1, reach + 1)
            if self.frame - way * far in self.others
        ]
        return Recalled(tuple(features), tuple(pointers), reach)

    def prompts(self, size: tuple[int, int]) -> Prompts | None:
        """Its points in pixels of the clip, corners as a box again."""
        if self.points is None:
            return None
        scale = np.array([size[1], size[0]]) / SIDE
        places, labels = self.points[0].numpy() * scale, self.labels[0].numpy()
        clicks = labels < 2
        box = places[~clicks].reshape(1, 4) if not clicks.all() else None
        earlier = None if self.earlier is None else self.earlier[0].numpy()
        points = places[clicks][None] if clicks.any() else None
        return Prompts.of(points=points, labels=labels[clicks][None] if clicks.any() else None, boxes=box, mask=earlier)


@torch.no_grad()
def undecided(last, presences):
    """Changes the last layer of an object head so that objects are there on some frames and not on others.

    presences: what it has said so far; noise alone says the same on every frame.
    """
    scale = 30.0
    last.bias.copy_(scale * (last.bias - float(np.median(presences))))
    last.weight.mul_(scale)


def clip(count=FRAMES, size=(90, 140)):
    return [picture(size, seed=index, shift=6.0 * index) for index in range(count)]


def write_folder(frames, folder):
    """JPEG files as the official package wants them; what they decode to."""
    for index, pixels in enumerate(frames):
        Pillow.fromarray(pixels).save(folder / f"{index:05d}.jpg", quality=95)
    return [np.asarray(Pillow.open(folder / f"{index:05d}.jpg").convert("RGB")) for index in range(len(frames))]


def spied(predictor, steps):
    """Records every step of an official predictor."""
    track_step = predictor.track_step

    def watched(**given):
        kept = {}
        for kind in ("cond_frame_outputs", "non_cond_frame_outputs"):
            kept[kind] = {
                frame: (out["maskmem_features"][0].clone(), out["obj_ptr"][0].clone())
                for frame, out in given["output_dict"][kind].items()
                if out["maskmem_features"] is not None
            }
        out = track_step(**given)
        points = given["point_inputs"]
        steps.append(
            Step(
                given["frame_idx"],
                given["is_init_cond_frame"],
                given["track_in_reverse"],
                kept["cond_frame_outputs"],
                kept["non_cond_frame_outputs"],
                None if points is None else points["point_coords"],
                None if points is None else points["point_labels"],
                None if given["prev_sam_mask_logits"] is None else given["prev_sam_mask_logits"][0],
                given["mask_inputs"] is not None,
                out["pred_masks"][0, 0].clone(),
                out["obj_ptr"][0].clone(),
                float(out["object_score_logits"]),
                None if out["maskmem_features"] is None else out["maskmem_features"][0].clone(),
            )
        )
        return out

    predictor.track_step = watched

    def widened(module, args, given):
        # in float32 without autocast they fail on an object that has memories, kept in bfloat16, but no pointer yet
        return args, given | {"memory": given["memory"].float()}

    predictor.memory_attention.register_forward_pre_hook(widened, with_kwargs=True)


@pytest.fixture(scope="module", params=["2.1", "2"])
def official_run(request, peer, noisy, tmp_path_factory):
    """(ours, frames, steps, memories made for prompted frames) of an official run with everything in it.

    Three objects by click, box and mask; forward, a correction on frame 6, forward again, then backward.
    """
    predictor = noisy(official(peer, request.param, video=True))
    folder = tmp_path_factory.mktemp("clip")
    path = tmp_path_factory.mktemp("weights") / "sam2.pt"
    frames = write_folder(clip(), folder)
    steps: list[Step] = []
    made = []
    spied(predictor, steps)
    state = predictor.init_state(str(folder))
    predictor.add_new_points_or_box(state, 0, 1, points=[[40, 30]], labels=[1])
    list(predictor.propagate_in_video(state, max_frame_num_to_track=3))
    undecided(predictor.sam_mask_decoder.pred_obj_score_head.layers[-1], [step.presence for step in steps])
    steps.clear()
    torch.save({"model": predictor.state_dict()}, path)
    encode = predictor._run_memory_encoder

    def watched(**given):
        out = encode(**given)
        made.append((given["frame_idx"], given["high_res_masks"], float(given["object_score_logits"]), out[0]))
        return out

    predictor._run_memory_encoder = watched
    state = predictor.init_state(str(folder))
    predictor.add_new_points_or_box(state, 0, 1, points=[[40, 30]], labels=[1])
    predictor.add_new_points_or_box(state, 0, 2, box=[20, 10, 100, 70], points=[[60, 60]], labels=[0])
    mask = np.zeros((90, 140), bool)
    mask[20:60, 30:90] = True
    predictor.add_new_mask(state, 1, 3, mask)
    list(predictor.propagate_in_video(state))
    predictor.add_new_points_or_box(state, 6, 1, points=[[50, 50]], labels=[0])
    list(predictor.propagate_in_video(state, start_frame_idx=6))
    list(predictor.propagate_in_video(state, start_frame_idx=8, reverse=True))
    ours = load(weights=path, device="cpu")
    ours.preprocess = replace(ours.preprocess, resample="bicubic")
    with torch.no_grad():
        embeddings = [ours.encode([Image.open(pixels)]) for pixels in frames]
    return ours, embeddings, steps, made, mask


def test_every_step_is_the_official_one(official_run):
    ours, embeddings, steps, _, mask = official_run
    assert isinstance(ours, VideoModel)
    kinds = {(step.points is None, step.drawn, step.first, step.reverse, step.presence > 0) for step in steps}
    assert len(steps) > 60 and len(kinds) >= 6
    assert {step.presence > 0 for step in steps} == {True, False}
    for step in steps:
        embedding = embeddings[step.frame]
        with torch.no_grad():
            if step.drawn:
                tracked = ours.drawn(embedding, Prompts.of(mask=mask[None]))
            else:
                tracked = ours.track(embedding, [step.recalled(FRAMES)], step.prompts((90, 140)))
            best = int(tracked.best[0])
            logits, pointer = tracked.logits[0, best], tracked.pointers[0, best]
            assert relative(logits, step.logits) < LOGITS, step.frame
            assert (pointer - step.pointer).abs().max() < TOLERANCE, step.frame
            assert abs(float(tracked.presence[0]) - step.presence) < TOLERANCE, step.frame
            if step.memory is not None:
                # theirs is of a whole frame that points at the object only where somebody did
                prompted = step.points is not None
                memory = ours.memorise(embedding, step.logits[None], tracked.presence, prompted=prompted)
                assert (memory[0] - step.memory).abs().max() < TOLERANCE, step.frame


def test_memories_of_prompted_frames_are_the_official_ones(official_run):
    ours, embeddings, steps, made, _ = official_run
    assert len(made) == 4
    for frame, high, presence, kept in made:
        low = next(
            step.logits
            for step in steps
            if step.frame == frame and torch.equal(_upscaled(step.logits), high[0, 0]) and step.memory is None
        )
        with torch.no_grad():
            memory = ours.memorise(embeddings[frame], low[None], torch.tensor([presence]), prompted=True)
        # kept in bfloat16 there: one unit in the last place, where the two round to different sides
        close = torch.isclose(memory.bfloat16().float(), kept.float(), rtol=2**-7, atol=TOLERANCE)
        assert close.all() and relative(memory, kept.float()) < 2**-8


def test_objects_are_followed_together_as_one_by_one(official_run):
    ours, embeddings, steps, _, _ = official_run
    frame = 5
    rows = [step for step in steps if step.frame == frame and step.points is None and not step.drawn]
    assert len(rows) > 3
    recalled = [step.recalled(FRAMES) for step in rows] + [Recalled()]
    with torch.no_grad():
        together = ours.track(embeddings[frame], recalled)
        for index, own in enumerate(recalled):
            alone = ours.track(embeddings[frame], [own])
            assert relative(together.logits[index], alone.logits[0]) < 1e-5
            assert relative(together.pointers[index], alone.pointers[0]) < 1e-5
            assert together.best[index] == alone.best[0]


def test_without_gradients_and_with_them_answers_are_the_same(official_run):
    ours, embeddings, steps, _, _ = official_run
    step = next(step for step in steps if step.points is None and len(step.others) > 1 and step.presence > 0)
    embedding, recalled = embeddings[step.frame], [step.recalled(FRAMES)]
    with torch.no_grad():
        fast = ours.track(embedding, recalled)
        memory = ours.memorise(embedding, fast.logits[:, 0], fast.presence, prompted=False)
    plain = ours.track(embedding, recalled)
    kept = ours.memorise(embedding, fast.logits[:, 0], fast.presence, prompted=False)
    assert relative(fast.logits, plain.logits.detach()) < LOGITS
    assert relative(memory, kept.detach()) < TOLERANCE
    (plain.pointers.sum() + kept.sum()).backward()
    assert ours.memory.attention.layers[0].cross_attn_image.k_proj.weight.grad.abs().sum() > 0
    ours.zero_grad()


def _upscaled(low):
    whole = (SIDE, SIDE)
    return torch.nn.functional.interpolate(low[None, None], whole, mode="bilinear", align_corners=False)[0, 0]


@pytest.fixture(scope="module", params=["2.1", "2"])
def transformers_run(request, peer, noisy, tmp_path_factory):
    """(ours, embeddings, steps) of a run of Sam2VideoModel with two objects and a correction."""
    transformers = peer("transformers")
    theirs = noisy(transformers.Sam2VideoModel(transformers_config(transformers, request.param)))
    undecided(theirs.mask_decoder.pred_obj_score_head.proj_out, OFTEN[request.param])
    with torch.no_grad():
        # one matrix under two names: noise was drawn for each
        shared = theirs.shared_image_embedding.positional_embedding
        theirs.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    folder = tmp_path_factory.mktemp("hub")
    theirs.save_pretrained(folder)
    ours = load(weights=folder / "model.safetensors", device="cpu")
    assert ours.card.name == f"sam{request.param}-tiny-test"
    frames = clip(8, (SIDE, SIDE))
    video = torch.cat([ours.preprocess([Image.open(pixels)])[0] for pixels in frames])
    session = transformers.Sam2VideoInferenceSession(
        video=video, video_height=SIDE, video_width=SIDE, dtype=torch.float32
    )
    steps: list[Step] = []
    run = theirs._run_single_frame_inference

    def watched(**given):
        outputs = session.output_dict_per_obj[given["obj_idx"]]
        kept = {}
        for kind in ("cond_frame_outputs", "non_cond_frame_outputs"):
            kept[kind] = {
                frame: (_as_map(out["maskmem_features"]), out["object_pointer"].reshape(-1))
                for frame, out in outputs[kind].items()
                if out.get("maskmem_features") is not None
            }
        out = run(**given)
        points = given["point_inputs"]
        steps.append(
            Step(
                given["frame_idx"],
                given["is_init_cond_frame"],
                given["reverse"],
                kept["cond_frame_outputs"],
                kept["non_cond_frame_outputs"],
                None if points is None else points["point_coords"][0],
                None if points is None else points["point_labels"][0],
                None,
                False,
                out["pred_masks"].reshape(out["pred_masks"].shape[-2:]).clone(),
                out["object_pointer"].reshape(-1).clone(),
                float(out["object_score_logits"]),
                None,
            )
        )
        return out

    theirs._run_single_frame_inference = watched
    for number, point in ((1, [40.0, 30.0]), (2, [90.0, 100.0])):
        index = session.obj_id_to_idx(number)
        coords, labels = torch.tensor([[[point]]]), torch.ones(1, 1, 1, dtype=torch.int32)
        session.add_point_inputs(index, 0, {"point_coords": coords, "point_labels": labels})
        session.obj_with_new_inputs.append(number)
    with torch.no_grad():
        theirs(session, frame_idx=0)
        list(theirs.propagate_in_video_iterator(session))
        list(theirs.propagate_in_video_iterator(session, start_frame_idx=5, reverse=True))
        embeddings = [ours.encode([Image.open(pixels)]) for pixels in frames]
    return ours, embeddings, steps


def _as_map(features):
    """[h * w, 1, C] to [C, h, w]."""
    side = round(len(features) ** 0.5)
    return features[:, 0].t().unflatten(1, (side, side))


def test_every_step_is_that_of_transformers(transformers_run):
    ours, embeddings, steps = transformers_run
    assert len(steps) > 20 and {step.presence > 0 for step in steps} == {True, False}
    for step in steps:
        with torch.no_grad():
            tracked = ours.track(embeddings[step.frame], [step.recalled(8)], step.prompts((SIDE, SIDE)))
        best = int(tracked.best[0])
        # their decoder normalises with an epsilon of 1e-6 where the official one has 1e-5
        assert relative(tracked.logits[0, best], step.logits) < 1e-3, step.frame
        assert (tracked.pointers[0, best] - step.pointer).abs().max() < TOLERANCE, step.frame
        assert abs(float(tracked.presence[0]) - step.presence) < 10 * TOLERANCE, step.frame
