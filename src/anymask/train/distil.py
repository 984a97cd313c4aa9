"""A small image encoder that learns to answer what a large one answers, so that the large one's decoder fits it.

Source: Faster Segment Anything (MobileSAM, arXiv 2306.14289), section 3: the features alone are matched, the prompt
encoder and the mask decoder are copied and stay; training them together afterwards is an ordinary fine-tune of the
result. No masks are needed, only pictures. `train/masked.py` is another way to learn from the same teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from anymask.errors import BadSetting
from anymask.models.promptable import PromptableModel
from anymask.train import export, masked
from anymask.train.loop import AVERAGE, Tell, Trainer, accelerator, states
from anymask.train.rounds import DTYPES
from anymask.train.run import drive
from anymask.train.settings import TrainSettings
from anymask.train.start import groups
from anymask.train.teacher import Frames, Pictures, Teacher, pair

KEPT = "features"
MEAN_OF = 16
"""Pictures at most that say where the teacher's features lie."""


class Distil(nn.Module):
    """The mean squared difference of two encoders' embeddings. student: trained. dtype: of its arithmetic."""

    def __init__(self, student: PromptableModel, teacher: Teacher, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.model, self.dtype = student, dtype
        # no module: nobody trains, wraps or saves it
        self.teacher = teacher

    def forward(self, frames: Frames) -> tuple[Tensor, dict[str, float]]:
        """The loss, and the mean cosine of the cells' embeddings."""
        device = self.model.device
        wanted = self.teacher.answers(frames, device)
        with torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            out = self.model.image_encoder(frames.student.to(device))
        found = out if isinstance(out, Tensor) else out["image"]
        loss = F.mse_loss(found.float(), wanted)
        with torch.no_grad():
            cosine = F.cosine_similarity(found.float(), wanted, dim=1).mean()
        return loss, {"loss": float(loss.detach()), "cosine": float(cosine)}


def distil(
    files: Sequence[Path],
    out: Path,
    settings: TrainSettings,
    *,
    teacher: str,
    student: str = "mobile-sam",
    teacher_weights: Path | None = None,
    student_weights: Path | None = None,
    masking: masked.Masking | None = None,
    keep: bool = True,
    hours: float | None = None,
    tell: Tell | None = None,
    cpu: bool | None = None,
) -> Path | None:
    """Distil an encoder; a state in `out` is taken up. The student's file, or None where the run is not complete yet.

    files: pictures. masking: hide most of each picture from the student (SAMI) instead of matching what both make of
    all of it. keep: keep the teacher's embeddings in `out`, 2 MB each for SAM. hours: see `Job`.
    Raises BadSetting.
    """
    _same_kind(out, masking is not None)
    torch.manual_seed(settings.seed)
    master, pupil = pair(teacher, student, teacher_weights=teacher_weights, student_weights=student_weights)
    pupil.train()
    for part in (pupil.prompt_encoder, pupil.mask_decoder):
        part.requires_grad_(False)
    dtype = DTYPES[settings.precision]
    if dtype == torch.bfloat16:
        master.use(dtype)
    taught = Teacher(master, out / KEPT if keep else None)
    here = accelerator(settings.precision, cpu=not torch.cuda.is_available() if cpu is None else cpu)
    pictures: Pictures
    task: nn.Module
    if masking is None:
        pictures = Pictures(files, settings, pupil.preprocess, master.preprocess)
        task, more = Distil(pupil, taught, dtype), []
    else:
        masked.start(pupil, student)
        pictures = masked.HiddenPictures(files, settings, pupil.preprocess, master.preprocess, masking)
        task = masked.Masked(pupil, taught, pictures.grid, masking, dtype)
        if not states(out):
            task.start_from_mean(pictures.batch(0, range(min(settings.images, MEAN_OF))), here.device)
        more = masked.groups_of(task.head, settings)

    about = {"model": student, "data": f"{len(files)} pictures", "teacher": teacher, "teacher weights": master.weights}
    trainer = Trainer(task, groups(pupil, settings) + more, pictures, out, settings, here)
    drive(
        trainer,
        lambda: export.whole(pupil, out, out / export.WHOLE, header=about),
        about,
        tell=tell,
        hours=hours,
    )
    return out / export.WHOLE if (out / export.WHOLE).is_file() else None


def _same_kind(out: Path, hidden: bool) -> None:
    """Raise BadSetting for a folder that holds a run of the other kind."""
    found = states(out)
    if not found:
        return
    with safe_open(found[-1] / AVERAGE, "pt") as average:
        was = any(name.startswith(masked.HEAD) for name in average.keys())  # noqa: SIM118  (no mapping)
    if was != hidden:
        kind = "with" if was else "without"
        raise BadSetting(f"the run in {out} was begun {kind} --masked; start in a new folder")
