"""A small image encoder that learns to answer what a large one answers, so that the large one's decoder fits it.

Source: Faster Segment Anything (MobileSAM, arXiv 2306.14289), section 3: the features alone are matched, the prompt
encoder and the mask decoder are copied and stay; training them together afterwards is an ordinary fine-tune of the
result. No masks are needed, only pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.errors import BadSetting
from anymask.models.load import load
from anymask.models.promptable import PromptableModel
from anymask.pixels.image import Image
from anymask.records import atomic
from anymask.train import export
from anymask.train.loop import Tell, Trainer, accelerator
from anymask.train.run import drive, fresh
from anymask.train.settings import TrainSettings
from anymask.train.start import groups

if TYPE_CHECKING:
    from anymask.models.preprocess import Preprocess

KEPT = "features"


@dataclass(frozen=True)
class Frames:
    """Pictures of a step as both encoders read them, float32 [B, 3, S, S]; numbers: which pictures, [B]."""

    student: Tensor
    teacher: Tensor
    numbers: tuple[int, ...]


class Pictures:
    """Draws pictures, each once in every round through all of them; example n is always the same.

    student, teacher: the two models' ways from pixels to their frames.
    """

    def __init__(
        self, files: Sequence[Path], settings: TrainSettings, student: Preprocess, teacher: Preprocess
    ) -> None:
        if not files:
            raise BadSetting("there is no picture to distil from")
        self.files, self.settings = list(files), settings
        self.student, self.teacher = student, teacher
        self.side = student.side

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


class Distil(nn.Module):
    """The mean squared difference of two encoders' embeddings.

    student: trained. teacher: asked. kept: folder where the teacher's embeddings are kept in float16, since it takes
    most of the time and answers the same each round; None keeps none.
    """

    def __init__(self, student: PromptableModel, teacher: PromptableModel, kept: Path | None) -> None:
        super().__init__()
        self.model = student
        self.kept = kept
        # not a part of this module: nobody trains, wraps or saves it
        self._teacher = (teacher.eval().requires_grad_(False),)

    def forward(self, frames: Frames) -> tuple[Tensor, dict[str, float]]:
        """The loss, and the mean cosine of the cells' embeddings."""
        device = self.model.device
        wanted = self._wanted(frames).to(device)
        out = self.model.image_encoder(frames.student.to(device))
        found = out if isinstance(out, Tensor) else out["image"]
        loss = F.mse_loss(found.float(), wanted)
        with torch.no_grad():
            cosine = F.cosine_similarity(found.float(), wanted, dim=1).mean()
        return loss, {"loss": float(loss.detach()), "cosine": float(cosine)}

    @torch.no_grad()
    def _wanted(self, frames: Frames) -> Tensor:
        teacher = self._teacher[0].to(self.model.device)
        found: list[Tensor | None] = [self._read(number) for number in frames.numbers]
        missing = [row for row, entry in enumerate(found) if entry is None]
        if missing:
            made = teacher.encode_frames(frames.teacher[missing])["image"].cpu()
            for row, entry in zip(missing, made, strict=True):
                found[row] = entry
                self._keep(frames.numbers[row], entry)
        return torch.stack([entry for entry in found if entry is not None]).float()

    def _read(self, number: int) -> Tensor | None:
        file = self._file(number)
        if file is None or not file.is_file():
            return None
        return torch.from_numpy(np.load(file))

    def _keep(self, number: int, embedding: Tensor) -> None:
        file = self._file(number)
        if file is None:
            return
        from io import BytesIO

        content = BytesIO()
        np.save(content, embedding.half().numpy())
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(file, content.getvalue())

    def _file(self, number: int) -> Path | None:
        # named by the teacher's weights, so that another teacher's answers are never taken for them
        return None if self.kept is None else self.kept / self._teacher[0].weights[:12] / f"{number:08d}.npy"


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
    try:
        pupil.prompt_encoder.load_state_dict(master.prompt_encoder.state_dict())
        pupil.mask_decoder.load_state_dict(master.mask_decoder.state_dict())
    except RuntimeError:
        same = False
    if not same:
        raise BadSetting(
            f"the embeddings of {student} and {teacher} have different shapes, so one decoder does not fit both; "
            "mobile-sam fits sam-vit-b, sam-vit-l and sam-vit-h"
        )
    return master, pupil


def distil(
    files: Sequence[Path],
    out: Path,
    settings: TrainSettings,
    *,
    teacher: str,
    student: str = "mobile-sam",
    teacher_weights: Path | None = None,
    student_weights: Path | None = None,
    keep: bool = True,
    hours: float | None = None,
    tell: Tell | None = None,
    cpu: bool | None = None,
) -> Path | None:
    """Distil an encoder; a state in `out` is taken up. The student's file, or None where the run is not complete yet.

    files: pictures. keep: keep the teacher's embeddings in `out`, 2 MB each for SAM. hours: see `Job`.
    Raises BadSetting.
    """
    torch.manual_seed(settings.seed)
    master, pupil = pair(teacher, student, teacher_weights=teacher_weights, student_weights=student_weights)
    pupil.train()
    for part in (pupil.prompt_encoder, pupil.mask_decoder):
        part.requires_grad_(False)
    pictures = Pictures(files, settings, pupil.preprocess, master.preprocess)
    here = accelerator(settings.precision, cpu=not torch.cuda.is_available() if cpu is None else cpu)
    task = Distil(pupil, master, out / KEPT if keep else None)

    about = {"model": student, "data": f"{len(files)} pictures", "teacher": teacher, "teacher weights": master.weights}
    trainer = Trainer(task, groups(pupil, settings), pictures, out, settings, here)
    drive(
        trainer,
        lambda: export.whole(pupil, out, out / export.WHOLE, header=about),
        about,
        tell=tell,
        hours=hours,
    )
    return out / export.WHOLE if (out / export.WHOLE).is_file() else None
