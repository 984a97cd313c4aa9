"""What every way of learning from a large image encoder shares: the pictures, the teacher's answers, the pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from anymask.errors import BadSetting
from anymask.models.load import load
from anymask.models.promptable import PromptableModel
from anymask.pixels.image import Image
from anymask.records import atomic
from anymask.train.run import fresh
from anymask.train.settings import TrainSettings

if TYPE_CHECKING:
    from anymask.models.preprocess import Preprocess


@dataclass(frozen=True)
class Frames:
    """Pictures of a step as both encoders read them, float32 [B, 3, S, S]; numbers: which pictures, [B]."""

    student: Tensor
    teacher: Tensor
    numbers: tuple[int, ...]


class Pictures:
    """Draws pictures, each once in every round through all of them; example n is always the same.

    student, teacher: the two models' ways from pixels to their frames. The student's frame is laid out as the teacher's
    is (padded or stretched), so that a cell of the one's embedding is the same place as that of the other's.
    """

    def __init__(
        self, files: Sequence[Path], settings: TrainSettings, student: Preprocess, teacher: Preprocess
    ) -> None:
        if not files:
            raise BadSetting("there is no picture to distil from")
        self.files, self.settings = list(files), settings
        self.side = settings.phases[-1].side or student.side
        self.student, self.teacher = replace(student, fit=teacher.fit, side=self.side), teacher

    def batch(self, step: int, numbers: Sequence[int]) -> Frames:
        """The examples of a step."""
        chosen = [self._picture(number) for number in numbers]
        images = [Image.open(self.files[index]) for index in chosen]
        student, _ = self.student(images)
        teacher = student if self.teacher == self.student else self.teacher(images)[0]
        return Frames(student, teacher, tuple(chosen))

    def _picture(self, number: int) -> int:
        turn, place = divmod(number, len(self.files))
        return int(np.random.default_rng((self.settings.seed, turn)).permutation(len(self.files))[place])


class Teacher:
    """A large model's embeddings of pictures.

    kept: folder where they are kept in float16, since the teacher takes most of the time and answers the same each
    round; None keeps none.
    """

    def __init__(self, model: PromptableModel, kept: Path | None) -> None:
        self.model, self.kept = model.eval().requires_grad_(False), kept

    @torch.no_grad()
    def answers(self, frames: Frames, device: torch.device) -> Tensor:
        """The embeddings of a step's pictures, float32 [B, C, h, w] on `device`."""
        found: list[Tensor | None] = [self._read(number) for number in frames.numbers]
        missing = [row for row, entry in enumerate(found) if entry is None]
        if missing:
            made = self.model.to(device).encode_frames(frames.teacher[missing])["image"].cpu()
            for row, entry in zip(missing, made, strict=True):
                found[row] = entry
                self._keep(frames.numbers[row], entry)
        return torch.stack([entry for entry in found if entry is not None]).float().to(device)

    def _read(self, number: int) -> Tensor | None:
        file = self._file(number)
        if file is None or not file.is_file():
            return None
        return torch.from_numpy(np.load(file))

    def _keep(self, number: int, embedding: Tensor) -> None:
        file = self._file(number)
        if file is None:
            return
        content = BytesIO()
        np.save(content, embedding.half().numpy())
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(file, content.getvalue())

    def _file(self, number: int) -> Path | None:
        # named by the teacher's weights, so that another teacher's answers are never taken for them
        return None if self.kept is None else self.kept / self.model.weights[:12] / f"{number:08d}.npy"


def pair(
    teacher: str, student: str, *, teacher_weights: Path | None = None, student_weights: Path | None = None
) -> tuple[PromptableModel, PromptableModel]:
    """Teacher and student, the student with the teacher's prompt encoder and decoder.

    The student starts from its own random weights, or from `student_weights`. Raises BadSetting where the two do not
    fit together.
    """
    master = load(teacher, weights=teacher_weights, device="cpu")
    pupil = fresh(student) if student_weights is None else load(student, weights=student_weights, device="cpu")
    if not isinstance(master, PromptableModel) or not isinstance(pupil, PromptableModel):
        raise BadSetting(f"{teacher} and {student} must both answer points and boxes")
    same = (master.prompt_encoder.dim, master.prompt_encoder.grid) == (
        pupil.prompt_encoder.dim,
        pupil.prompt_encoder.grid,
    )
    # a prompt encoder of another kind than SAM's knows itself what it can take
    take = getattr(pupil.prompt_encoder, "take", None)
    try:
        pupil.mask_decoder.load_state_dict(master.mask_decoder.state_dict())
        if take is None:
            pupil.prompt_encoder.load_state_dict(master.prompt_encoder.state_dict())
        elif same:
            take(master.prompt_encoder)
    except RuntimeError:
        same = False
    if not same:
        raise BadSetting(
            f"the embeddings of {student} and {teacher} have different shapes, so one decoder does not fit both; "
            "mobile-sam, efficient-sam-ti and efficient-sam-s fit sam-vit-b, sam-vit-l and sam-vit-h"
        )
    return master, pupil
