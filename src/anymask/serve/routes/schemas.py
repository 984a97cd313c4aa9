"""What goes over the wire, typed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]
"""A number that JSON can hold."""


class Error(BaseModel):
    """Every refusal."""

    error: str = Field(description="One sentence: what is wrong and what to do.")
    kind: str = Field(description="The type of the error in the package, for programs.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"error": "this picture is not here any more; send it again", "kind": "NotHere"}]
        }
    )


class Health(BaseModel):
    """For load balancers and people who wonder."""

    status: Literal["ok", "stopping"]
    version: str
    model: str = Field(description="The model that is asked when a request names none.")
    queue: dict[str, int] = Field(description="How much waits, by kind of work.")


class ModelStatus(BaseModel):
    """A model of the family."""

    name: str
    title: str
    parameters: int
    licence: str
    prompts: list[str]
    ready: bool = Field(description="Whether it can be asked here at once.")


class Limits(BaseModel):
    """What the server takes."""

    max_bytes: int
    max_pixels: int


class Status(BaseModel):
    """What this server is and can."""

    version: str
    default_model: str
    models: list[ModelStatus]
    limits: Limits
    browser_decoder: bool = Field(description="Whether the decoder can be fetched as ONNX, to decode in the browser.")


class Uploaded(BaseModel):
    """A picture that the server holds."""

    id: str = Field(description="Digest of the pixels: equal pictures have equal ids.")
    width: int
    height: int
    name: str

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": "7c1f…", "width": 1800, "height": 1200, "name": "truck.jpg"}]}
    )


class Rle(BaseModel):
    """A mask as COCO's compressed run lengths."""

    size: Annotated[list[int], Field(min_length=2, max_length=2, description="[H, W] in pixels.")]
    counts: str = Field(max_length=16_000_000, description="Compressed runs, down the columns, background first.")


class Logits(BaseModel):
    """Low-resolution logits of one mask."""

    size: Annotated[list[int], Field(min_length=2, max_length=2, description="[h, w]")]
    values: str = Field(max_length=8_000_000, description="float32, little-endian, row by row, in base64.")


class Previous(BaseModel):
    """An earlier answer that this click builds on."""

    answer: str = Field(max_length=100, description="`answer` of an earlier reply.")
    candidate: int = Field(default=0, ge=0, le=1000, description="Which of its masks stands.")


class Prompt(BaseModel):
    """What was pointed at: one object, in pixels of the original picture."""

    model: str | None = Field(default=None, max_length=200, description="A model's name; left out, the server's own.")
    points: list[Annotated[list[Number], Field(min_length=2, max_length=2)]] = Field(
        default_factory=list, max_length=1000, description="[[x, y], ...]"
    )
    labels: list[Literal[0, 1]] | None = Field(
        default=None, max_length=1000, description="1 inside, 0 outside, one for each point; left out, all are inside."
    )
    box: Annotated[list[Number], Field(min_length=4, max_length=4)] | None = Field(
        default=None, description="[x0, y0, x1, y1]"
    )
    mask: Rle | None = Field(default=None, description="A drawn mask of the picture's size.")
    low_res: Logits | None = Field(default=None, description="Logits of an earlier answer, fed back by hand.")
    previous: Previous | None = Field(
        default=None, description="The answer that stood before the last click; send all clicks with it."
    )
    multimask: bool | None = Field(
        default=None, description="Three candidates, one, or by the paper's rule: three for a single point."
    )
    logits: bool = Field(default=False, description="Also give the low-resolution logits of each mask.")
    best: bool = Field(default=False, description="Only the best mask, and nothing to build on: for hovering.")
    simplify: float | None = Field(
        default=None,
        ge=0,
        le=1000,
        allow_inf_nan=False,
        description="Also give outlines, with so many pixels of tolerance.",
    )

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"points": [[900, 600]], "labels": [1]},
                {"points": [[900, 600], [300, 300]], "labels": [1, 0], "previous": {"answer": "a1B2", "candidate": 0}},
                {"box": [400, 300, 1400, 900]},
            ]
        },
    )


class ImagePrompt(Prompt):
    """A prompt and the picture it is about."""

    image: str = Field(max_length=100, description="The picture's id.")

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"image": "7c1f…", "points": [[900, 600]], "labels": [1]}]}
    )


class Requests(BaseModel):
    """Prompts on any pictures."""

    requests: list[ImagePrompt] = Field(min_length=1, max_length=64)

    model_config = ConfigDict(extra="forbid")


class Mask(BaseModel):
    """One mask."""

    score: float = Field(description="Predicted IoU.")
    area: int = Field(description="Pixels.")
    box: list[int] = Field(description="[x, y, width, height]")
    rle: Rle
    parent: int | None = Field(default=None, description="Index of the smallest mask that this one lies in.")
    polygons: list[list[list[list[int]]]] | None = Field(
        default=None, description="Parts; each an exterior and its holes, [[x, y], ...] along the pixel edges."
    )
    logits: Logits | None = None
    stability_score: float | None = Field(
        default=None, description="Everything mode: how little the mask depends on its threshold."
    )
    point_coords: list[float] | None = Field(
        default=None, description="Everything mode: the point that found it, [x, y]."
    )
    crop_box: list[int] | None = Field(
        default=None, description="Everything mode: the part looked at, [x, y, width, height]."
    )


class MasksReply(BaseModel):
    """An answer, best mask first."""

    answer: str | None = Field(description="What later clicks name in `previous`; null where nothing can be built on.")
    size: list[int] = Field(description="[H, W] in pixels.")
    note: str = Field(description="Empty, or a sentence when the last click could not be followed.")
    masks: list[Mask]


class Answers(BaseModel):
    """A reply or an error for each request, in order."""

    answers: list[MasksReply | Error]


class EncodeRequest(BaseModel):
    """Which model shall encode."""

    model: str | None = Field(default=None, max_length=200)

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}, {"model": "sam-vit-b"}]})


class Ready(BaseModel):
    """The picture is encoded: clicks are answered at once."""

    state: Literal["ready"] = "ready"
    seconds: float = 0.0


class EverythingRequest(BaseModel):
    """How all objects are looked for."""

    model: str | None = Field(default=None, max_length=200)
    preset: Literal["default", "quick", "sa1b", "lvis", "proposals"] = "default"
    points_per_side: int | None = Field(default=None, ge=1, le=64, description="Points along each side of the grid.")
    options: dict[str, float | int | None] = Field(
        default_factory=dict,
        max_length=20,
        description="Further options of everything mode by their official names (`pred_iou_thresh`, ...).",
    )
    tree: bool = Field(default=True, description="Also say which mask lies in which.")

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"points_per_side": 16}, {"preset": "quick"}]}
    )


class JobReply(BaseModel):
    """A job as it stands."""

    id: str
    kind: Literal["encode", "everything"]
    image: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: float | None = Field(description="0 to 1, null while nothing is known.")
    position: int = Field(description="Place in the queue, 0 when it is not waiting.")
    message: str
    expected_seconds: float | None


class ExportObject(BaseModel):
    """One object of a file."""

    name: str = Field(default="", max_length=200)
    colour: str | None = Field(
        default=None, max_length=32, description="As the page shows it, #rrggbb; kept where a format can."
    )
    mask: Rle
    score: float | None = Field(default=None, allow_inf_nan=False)


class ExportRequest(BaseModel):
    """Objects to be written as a file."""

    format: str = Field(max_length=40, description="coco, png, labels, svg, cutout, geojson, sa1b, yolo, voc")
    objects: list[ExportObject] = Field(min_length=1, max_length=1000)
    simplify: float = Field(
        default=0.0, ge=0, le=1000, allow_inf_nan=False, description="Of outlines in SVG, in pixels."
    )

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"format": "coco", "objects": [{"name": "dog", "mask": {"size": [4, 6], "counts": "52L2L4O"}}]}
            ]
        },
    )


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documented errors of a route: these, and those that every route has."""
    told = {
        400: "The request makes no sense here.",
        401: "A token is wanted.",
        403: "Another site or host name.",
        404: "Not here (any more).",
        409: "What it builds on is not kept any more.",
        413: "Too many bytes or pixels.",
        415: "Not a picture.",
        422: "Not of the documented form.",
        429: "Too many requests.",
        503: "Too busy; see Retry-After.",
    }
    every = (400, 401, 403, 429, 503)
    return {status: {"model": Error, "description": told[status]} for status in sorted({*every, *statuses})}
