"""SAM2VideoPredictor: objects followed through a clip, under the official names, over `anymask.video`'s session.

State that the official class keeps in memory for every frame lies on disk here; frames are decoded as they are needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anymask.errors import BadPrompt, BadSetting
from anymask.models.interface import UNWANTED, Decoded
from anymask.models.tracking import TrackingModel
from anymask.pixels.video import FramesLike
from anymask.track.session import VideoSession

Triple = tuple[int, list[Any], Tensor]
"""(frame number, object ids, logits float32 [N, 1, H, W] in the clip's size)."""


class InferenceState(dict[str, Any]):
    """What the official class calls a state: the facts that scripts read, and the session that does the work.

    Keys: num_frames, video_height, video_width, obj_ids, device, session.
    """

    @property
    def session(self) -> VideoSession:
        """The session itself."""
        found: VideoSession = self["session"]
        return found

    def number(self, name: Any) -> int:
        """The session's number for a caller's object id, which may be anything; a new one for a new id."""
        numbers: dict[Any, int] = self["obj_id_to_idx"]
        if name not in numbers:
            self["next_idx"] += 1
            numbers[name] = self["next_idx"]
            self["obj_ids"] = list(numbers)
        return numbers[name]

    def forget(self, name: Any) -> None:
        """Takes a caller's object id away."""
        self["obj_id_to_idx"].pop(name)
        self["obj_ids"] = list(self["obj_id_to_idx"])


class SAM2VideoPredictor:
    """The official predictor; made by `build_sam2_video_predictor`.

    sam_model: the network. fill_hole_area: holes of up to so many low-resolution pixels are filled.
    non_overlap_masks: of overlapping masks the one with the highest logit keeps a pixel, in what is returned.
    clear_non_cond_mem_around_input: a prompt makes the object forget what was tracked on the frames around it.
    add_all_frames_to_correct_as_cond: a prompt on a tracked frame makes it a prompted frame. Officially it is off, and
    then a correction is tracked over again as soon as propagation passes its frame.
    """

    def __init__(
        self,
        sam_model: TrackingModel,
        fill_hole_area: int = 0,
        non_overlap_masks: bool = False,
        clear_non_cond_mem_around_input: bool = False,
        add_all_frames_to_correct_as_cond: bool = False,
        *,
        binarize_mask_from_pts_for_mem_enc: bool = False,
        max_cond_frames_in_attn: int = -1,
    ) -> None:
        self.model = sam_model
        self.fill_hole_area = fill_hole_area
        self.non_overlap_masks = non_overlap_masks
        self.clear_non_cond_mem_around_input = clear_non_cond_mem_around_input
        self.add_all_frames_to_correct_as_cond = add_all_frames_to_correct_as_cond
        self.binarize_mask_from_pts_for_mem_enc = binarize_mask_from_pts_for_mem_enc
        self.max_cond_frames_in_attn = max_cond_frames_in_attn
        # official frames of clips are resized as whole numbers, official images as floats
        sam_model.preprocess = dataclasses.replace(sam_model.preprocess, resample="bicubic")

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2VideoPredictor:
        """With published weights: "facebook/sam2.1-hiera-tiny". Raises UnknownModel, DownloadFailed."""
        from anymask.compat.sam2.build_sam import build_sam2_video_predictor_hf

        return build_sam2_video_predictor_hf(model_id, **kwargs)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    @property
    def image_size(self) -> int:
        """Pixels of the model's frame."""
        return self.model.preprocess.side

    def to(self, *args: Any, **kwargs: Any) -> SAM2VideoPredictor:
        """Moves the model, as torch does."""
        self.model.to(*args, **kwargs)
        return self

    def eval(self) -> SAM2VideoPredictor:
        """Evaluation mode."""
        self.model.eval()
        return self

    def init_state(
        self,
        video_path: FramesLike,
        offload_video_to_cpu: bool = False,
        offload_state_to_cpu: bool = False,
        async_loading_frames: bool = False,
    ) -> InferenceState:
        """A state for a clip: a video file, a folder of pictures with any names, or anything `anymask.video` opens.

        offload_state_to_cpu: memories lie in the main memory. The other options are taken and change nothing: frames
        are never held all at once. Raises BadImage.
        """
        session = VideoSession(
            video_path,
            self.model,
            offload=bool(offload_state_to_cpu),
            fill_holes=self.fill_hole_area,
            binarise=self.binarize_mask_from_pts_for_mem_enc,
            max_prompted=None if self.max_cond_frames_in_attn < 0 else self.max_cond_frames_in_attn,
            corrections_prompt=self.add_all_frames_to_correct_as_cond,
            forget_around=self.model.slots + 1 if self.clear_non_cond_mem_around_input else 0,
        )
        height, width = session.size
        return InferenceState(
            session=session,
            num_frames=session.frames.count,
            video_height=height,
            video_width=width,
            device=self.device,
            obj_id_to_idx={},
            obj_ids=[],
            next_idx=-1,
        )

    def add_new_points_or_box(
        self,
        inference_state: InferenceState,
        frame_idx: int,
        obj_id: Any,
        points: Any = None,
        labels: Any = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
        box: Any = None,
    ) -> Triple:
        """Prompts for an object on a frame, and all objects' masks there.

        points: [K, 2] (x, y); labels: [K], 1 inside, 0 outside; box: [4] XYXY; pixels of the clip, or shares of its
        sides where `normalize_coords` is off. clear_old_points: forget the object's earlier points on this frame.
        Raises BadPrompt, which is a ValueError.
        """
        if (points is None) != (labels is None):
            raise BadPrompt("points and labels must be provided together")
        if points is None and box is None:
            raise BadPrompt("at least one of points or box must be provided as input")
        if box is not None and not clear_old_points:
            raise BadPrompt(
                "cannot add box without clearing old points, since box prompt must be provided before any point prompt "
                "(please use clear_old_points=True instead)"
            )
        session = inference_state.session
        scale = np.array([1.0, 1.0] if normalize_coords else session.size[::-1])
        xy = None if points is None else _numbers(points).reshape(-1, 2) * scale
        kinds = None if labels is None else _numbers(labels).reshape(-1)
        corners = None if box is None else (_numbers(box).reshape(2, 2) * scale).reshape(4)
        if xy is not None and not len(xy):
            xy = kinds = None
        return self._prompted(
            inference_state, frame_idx, obj_id, points=xy, labels=kinds, box=corners, clear=clear_old_points
        )

    def add_new_points(self, *args: Any, **kwargs: Any) -> Triple:
        """The older name of `add_new_points_or_box`."""
        return self.add_new_points_or_box(*args, **kwargs)

    def add_new_mask(self, inference_state: InferenceState, frame_idx: int, obj_id: Any, mask: Any) -> Triple:
        """A drawn mask, [H, W] in the clip's size, as an object's answer on a frame. Raises BadPrompt."""
        drawn = _numbers(mask)
        if drawn.ndim != 2:
            raise BadPrompt(f"a mask must be [H, W], got {drawn.shape}")
        return self._prompted(inference_state, frame_idx, obj_id, mask=drawn != 0)

    def _prompted(self, state: InferenceState, frame: int, name: Any, **prompts: Any) -> Triple:
        known = name in state["obj_id_to_idx"]
        try:
            state.session.prompt(frame, state.number(name), **prompts)
        except Exception:
            if not known:
                state.forget(name)
            raise
        return self._shown(state, frame)

    def propagate_in_video_preflight(self, inference_state: InferenceState) -> None:
        """Puts what was pointed at into memory. Raises BadSetting, where an object was not pointed at anywhere."""
        session = inference_state.session
        if not session.objects:
            raise BadPrompt("No input points or masks are provided for any object; please add inputs first.")
        session.settle()
        for name, number in inference_state["obj_id_to_idx"].items():
            if not session._things[number].prompted:
                raise BadPrompt(f"No input points or masks are provided for object id {name}; please add inputs first.")

    def propagate_in_video(
        self,
        inference_state: InferenceState,
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Triple]:
        """Follows all objects frame by frame, and gives their masks.

        start_frame_idx: by default the earliest frame that was pointed at. max_frame_num_to_track: frames after it.
        reverse: backward in time; from frame 0 that is nothing, as officially.
        """
        self.propagate_in_video_preflight(inference_state)
        session = inference_state.session
        if start_frame_idx is None:
            start_frame_idx = min(frame for thing in session._things.values() for frame in thing.prompted)
        if reverse and start_frame_idx == 0:
            return
        stop = None
        if max_frame_num_to_track is not None:
            most = max_frame_num_to_track
            stop = start_frame_idx - most - 1 if reverse else start_frame_idx + most + 1
        for frame, _ in session.propagate(start_frame_idx, stop, reverse, early=True, afresh=True):
            yield self._shown(inference_state, frame)

    def clear_all_prompts_in_frame(
        self, inference_state: InferenceState, frame_idx: int, obj_id: Any, need_output: bool = True
    ) -> Triple | None:
        """Takes back what was said about an object on a frame; gives all objects' masks there, if wanted."""
        number = inference_state.number(obj_id)
        if number in inference_state.session.objects:
            inference_state.session.clear(frame_idx, number)
        return self._shown(inference_state, frame_idx) if need_output else None

    def remove_object(
        self, inference_state: InferenceState, obj_id: Any, strict: bool = False, need_output: bool = True
    ) -> tuple[list[Any], list[tuple[int, Tensor]]]:
        """Forgets an object. Returns the ids that are left and (frame, masks) of frames it had been pointed at on.

        strict: an unknown id is an error (BadSetting) instead of nothing.
        """
        session = inference_state.session
        if obj_id not in inference_state["obj_id_to_idx"]:
            if strict:
                raise BadSetting(
                    f"Cannot remove object id {obj_id} as it doesn't exist. All existing object ids: "
                    f"{inference_state['obj_ids']}."
                )
            return inference_state["obj_ids"], []
        number = inference_state.number(obj_id)
        frames = sorted(session._things[number].said) if number in session.objects else []
        if number in session.objects:
            session.remove(number)
        inference_state.forget(obj_id)
        if not inference_state["obj_ids"] or not need_output:
            return inference_state["obj_ids"], []
        return inference_state["obj_ids"], [(frame, self._shown(inference_state, frame)[2]) for frame in frames]

    def reset_state(self, inference_state: InferenceState) -> None:
        """Back to no objects."""
        inference_state.session.reset()
        inference_state["obj_id_to_idx"].clear()
        inference_state["obj_ids"] = []

    @torch.no_grad()
    def _shown(self, state: InferenceState, frame: int) -> Triple:
        """All objects' logits in the clip's size; those of objects that nothing is known of are -1024."""
        session, names = state.session, state["obj_ids"]
        low = self.model.prompt_encoder.mask_size
        logits = torch.full((len(names), 1, *low), UNWANTED, device=self.device)
        for row, name in enumerate(names):
            thing = session._things.get(state["obj_id_to_idx"][name])
            answer = None if thing is None else thing.latest(frame)
            if answer is not None and answer.logits.numel():
                logits[row, 0] = answer.logits.to(self.device)
        resize = self.model.preprocess.resize(session.size)
        full = Decoded(logits, logits.new_zeros(len(names), 1), resize).upscaled()
        return frame, list(names), apart(full) if self.non_overlap_masks else full


def apart(logits: Tensor) -> Tensor:
    """Logits [N, 1, H, W] of which at each pixel only the highest stays above -10."""
    if len(logits) < 2:
        return logits
    best = logits.argmax(0, keepdim=True)
    own = torch.arange(len(logits), device=logits.device)[:, None, None, None]
    return torch.where(best == own, logits, logits.clamp(max=-10.0))


def _numbers(value: Any) -> Any:
    """A numpy array of numbers, lists or tensors. Raises BadPrompt."""
    try:
        plain = value.detach().cpu().numpy() if hasattr(value, "detach") else value
        return np.asarray(plain, np.float64)
    except (TypeError, ValueError) as error:
        raise BadPrompt(f"prompts are arrays of numbers: {error}") from None
