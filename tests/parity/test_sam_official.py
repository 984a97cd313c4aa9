"""Our SAM gives what PyPI segment-anything gives for the same random weights, through both of its interfaces."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sam_cases
import torch
from sam_cases import SIZES, Differences, ask, ask_plainly, cases, picture, randomise

from anymask.compat.segment_anything import SamPredictor
from anymask.models.load import load
from anymask.pixels.image import Image
from anymask.prompts.prompts import Prompts

TOLERANCE = 1e-4
LARGE = ("point", "box", "points + mask")
"""Of the large picture; each answer of 12 megapixels takes a while."""


@pytest.fixture(scope="module")
def official_file(tmp_path_factory, peer):
    """The official classes at the size of our tiny row, and the file that they save."""
    official = randomise(sam_cases.official_tiny(peer("segment_anything.modeling")))
    path = tmp_path_factory.mktemp("official") / "tiny.pth"
    torch.save(official.state_dict(), path)
    return official, path


@pytest.fixture(scope="module")
def ours(official_file):
    model = load(weights=official_file[1], device="cpu")
    assert model.card.name == "sam-tiny-test"
    return model


@pytest.fixture(scope="module", params=list(SIZES))
def scene(request, official_file, peer):
    """(name, picture, official predictor) with the picture set."""
    predictor = peer("segment_anything").SamPredictor(official_file[0])
    pixels = picture(SIZES[request.param])
    predictor.set_image(pixels)
    return request.param, pixels, predictor


@pytest.fixture(params=["lean", "plain"])
def way(request, monkeypatch):
    """Both ways of computing on a CPU."""
    monkeypatch.setenv("ANYMASK_FAST", "0" if request.param == "plain" else "auto")


def within(found: Differences) -> bool:
    return max(found.embedding, found.logits, found.scores) < TOLERANCE and found.iou >= 0.999


def asked(name: str, size: tuple[int, int]):
    """(case, multimask) worth asking of the picture of this name."""
    for case in cases(size):
        if name != "large" or case.name in LARGE:
            for multimask in (True, False) if name != "large" else (False,):
                yield case, multimask


def test_every_tensor_of_the_official_file_is_in_its_place(official_file, ours):
    theirs = official_file[0].state_dict()
    assert ours.state_dict().keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.state_dict().items())
    assert theirs["image_encoder.pos_embed"].abs().min() > 0 and theirs["image_encoder.blocks.0.attn.rel_pos_h"].any()


def test_the_compatible_predictor_answers_as_the_official_one(scene, ours, way):
    name, pixels, official = scene
    predictor = SamPredictor(ours)
    predictor.set_image(pixels)
    assert (predictor.original_size, predictor.input_size) == (official.original_size, official.input_size)
    found = Differences()
    found.embedding = float((predictor.get_image_embedding() - official.get_image_embedding()).abs().max())
    first = None
    for case, multimask in asked(name, pixels.shape[:2]):
        theirs = ask(official, case, first, multimask)
        found.add(case.name, ask(predictor, case, first, multimask), theirs)
        if first is None:
            first = theirs[2][:, :1]
        if len(case) == 1 and name != "large":
            theirs = ask_plainly(official, case, first, multimask)
            found.add(case.name, ask_plainly(predictor, case, first, multimask), theirs)
    assert within(found), found


def test_encode_and_decode_answer_as_the_official_predictor(scene, ours, way):
    name, pixels, official = scene
    with torch.no_grad():
        embedding = ours.encode([Image.open(pixels)])
    found = Differences()
    found.embedding = float((embedding.tensors["image"] - official.get_image_embedding()).abs().max())
    first = ask(official, cases(pixels.shape[:2])[0], None, True)[2][:, :1]
    for case, multimask in asked(name, pixels.shape[:2]):
        back = first[:, 0].expand(len(case), -1, -1).numpy() if case.mask else None
        with torch.no_grad():
            decoded = ours.decode(
                embedding,
                Prompts.of(case.points, case.labels, case.boxes, back, size=pixels.shape[:2]),
                multimask=multimask,
            )
        own = (decoded.upscaled() > 0, decoded.scores, decoded.logits)
        found.add(case.name, own, ask(official, case, first, multimask))
    assert within(found), found


def test_gradients_are_the_official_ones(official_file, ours):
    """Of the whole way from pixels to logits, for a parameter of each part."""
    official = official_file[0]
    frames = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    point, label = torch.tensor([[[30.0, 50.0]]]), torch.tensor([[1]])
    gradients = []
    for sam in (official, SamPredictor(ours).model):
        sam.zero_grad()
        sparse, dense = sam.prompt_encoder(points=(point, label), boxes=None, masks=None)
        logits, scores = sam.mask_decoder(
            image_embeddings=sam.image_encoder(frames),
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        (logits.square().mean() + scores.sum()).backward()
        gradients.append({name: p.grad for name, p in sam.named_parameters() if p.grad is not None})
        sam.zero_grad()
    theirs, own = gradients
    assert own.keys() >= theirs.keys() and len(theirs) > 100
    for name, gradient in theirs.items():
        assert (own[name] - gradient).abs().max() <= 1e-4 * max(1.0, float(gradient.abs().max())), name


def test_several_pictures_at_once_are_answered_as_officially(official_file, ours):
    official = official_file[0]
    compatible = SamPredictor(ours).model
    batch = []
    for seed, (height, width) in enumerate([(96, 128), (128, 70), (128, 128)]):
        image = torch.as_tensor(picture((height, width), seed)).permute(2, 0, 1)
        batch.append({"image": image, "original_size": (2 * height + 1, 2 * width)})
    batch[0] |= {"point_coords": torch.tensor([[[30.0, 40.0]], [[9.0, 80.0]]]), "point_labels": torch.ones(2, 1)}
    batch[1] |= {"boxes": torch.tensor([[10.0, 10.0, 60.0, 90.0]]), "mask_inputs": torch.randn(1, 1, 32, 32)}
    for multimask in (True, False):
        for own, theirs in zip(compatible(batch, multimask), official(batch, multimask), strict=True):
            assert own.keys() == theirs.keys()
            assert own["masks"].shape == theirs["masks"].shape and own["masks"].dtype == torch.bool
            assert (own["masks"] != theirs["masks"]).float().mean() < 1e-3
            assert (own["low_res_logits"] - theirs["low_res_logits"]).abs().max() < TOLERANCE
            assert (own["iou_predictions"] - theirs["iou_predictions"]).abs().max() < TOLERANCE


def test_transforms_are_the_official_ones(peer):
    theirs = peer("segment_anything.utils.transforms").ResizeLongestSide(128)
    from anymask.compat.segment_anything.utils.transforms import ResizeLongestSide

    own = ResizeLongestSide(128)
    rng = np.random.default_rng(0)
    for size in [(480, 640), (641, 333), (37, 51), (128, 128), (1, 128)]:
        assert own.get_preprocess_shape(*size, 128) == theirs.get_preprocess_shape(*size, 128)
        pixels = picture(size)
        assert (own.apply_image(pixels) == theirs.apply_image(pixels)).all()
        points, boxes = rng.uniform(0, 400, (3, 5, 2)), rng.uniform(0, 400, (7, 4))
        assert (own.apply_coords(points, size) == theirs.apply_coords(points, size)).all()
        assert (own.apply_boxes(boxes, size) == theirs.apply_boxes(boxes, size)).all()
        for name, array in (("apply_coords_torch", points), ("apply_boxes_torch", boxes)):
            tensor = torch.as_tensor(array)
            assert torch.equal(getattr(own, name)(tensor, size), getattr(theirs, name)(tensor, size))


@pytest.fixture(scope="module")
def base_file(tmp_path_factory, peer):
    """The official ViT-B with random weights, and its file."""
    torch.manual_seed(0)
    official = randomise(peer("segment_anything").sam_model_registry["vit_b"]())
    path = tmp_path_factory.mktemp("base") / "sam_vit_b.pth"
    torch.save(official.state_dict(), path)
    return official, path


SCRIPT = (Path(__file__).parent / "official_script.py").read_text()


def run(script: str, *arguments: object) -> list[str]:
    """The lines that a script prints in a process of its own."""
    shim = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", shim + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_script_with_only_its_import_line_changed_prints_the_same(base_file):
    shim = "import torchvision_shim; torchvision_shim.install()\n"
    theirs = run(shim + SCRIPT, base_file[1])
    changed, lines = re.subn(r"^from segment_anything", "from anymask.compat.segment_anything", SCRIPT, flags=re.M)
    assert lines == 2 and "import torchvision" not in changed
    own = run(changed, base_file[1])
    assert len(own) == len(theirs) > 20
    number = re.compile(r"-?\d+\.\d+")
    for mine, other in zip(own, theirs, strict=True):
        assert number.sub("#", mine) == number.sub("#", other)
        values = np.array([number.findall(line) for line in (mine, other)], float)
        assert np.allclose(values[0], values[1], atol=1e-3), (mine, other)


@pytest.mark.slow
def test_vit_b_at_full_size(base_file, peer):
    """All five pictures, and ViT-L and ViT-H, are in benchmarks/parity_full.py."""
    official, path = base_file
    theirs = peer("segment_anything").SamPredictor(official)
    pixels = picture(SIZES["tiny"])
    theirs.set_image(pixels)
    predictor = SamPredictor(load("sam-vit-b", weights=path, device="cpu"))
    predictor.set_image(pixels)
    found = Differences()
    found.embedding = float((predictor.get_image_embedding() - theirs.get_image_embedding()).abs().max())
    first = None
    for case in cases(pixels.shape[:2]):
        answer = sam_cases.ask(theirs, case, first, True)
        found.add(case.name, sam_cases.ask(predictor, case, first, True), answer)
        first = answer[2][:, :1] if first is None else first
    assert within(found), found
