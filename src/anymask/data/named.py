"""Data sets by name: the 23 of Segment Anything's zero-shot suite (paper, appendix D), COCO, LVIS, BSDS500, DIS5K and
ThinObject5K, each with the folders it unpacks to.

None of the large sets was at hand when this was written. The layouts are from published readers and descriptions:
- tried on the real files: BSDS500, and samples of COCO;
- from the data set's own description or tools: ADE20K, BBBC038v1, Cityscapes, DRAM, EgoHOS, Hypersim, iShape, LVIS,
  VISOR, WoodScape;
- from programs of others that read them: DIS5K, ThinObject5K, DOORS, GTEA, NDD20, NDISPark, OVIS, PIDRay, Plittersdorf,
  PPDLS, STREETS, TimberSeg, TrashCan, ZeroWaste-f. Where one unpacks otherwise, the error says what was expected.
Which of a set's pictures the paper took (at most some 10,000 masks of each) is not published: all that lie there are
read, split by split. DRAM and EgoHOS tell classes only: a mask is all of a class in a picture. IBD is named and not
read, since what its label values mean could not be made sure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anymask.data import coco, drawn, encodings, lvis, photo
from anymask.data.labelmaps import BINARY, INSTANCES, NumberMap, map_set
from anymask.data.objects import objects_set
from anymask.data.paired import Found, Pair, PairedSet, within
from anymask.data.sample import Dataset, Stream
from anymask.data.ytvis import FrameSet
from anymask.errors import BadSetting

Sets = Sequence[Dataset | Stream]

CITYSCAPES: Mapping[int, str] = dict(
    enumerate(
        ("person", "rider", "car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle"), start=24
    )
)
"""Cityscapes' classes that have instances, by number."""

DRAM: Mapping[int, str] = {
    3: "bird",
    4: "boat",
    5: "bottle",
    8: "cat",
    9: "chair",
    10: "cow",
    12: "dog",
    13: "horse",
    15: "person",
    16: "potted plant",
    17: "sheep",
}
"""DRAM's classes, by their numbers in PASCAL VOC; others are nobody's."""

EGOHOS: Mapping[int, str] = {
    1: "left hand",
    2: "right hand",
    **{
        3 + 3 * (order - 1) + place: f"{'first' if order == 1 else 'second'} order object of {whose}"
        for order in (1, 2)
        for place, whose in enumerate(("the left hand", "the right hand", "both hands"))
    },
}


@dataclass(frozen=True)
class Named:
    """One data set. expects: its folders, in words. open: its sets; raises BadSetting where they are not there."""

    title: str
    expects: str
    read: Callable[[Path], Sequence[Any]]

    def open(self, path: Path) -> Sets:
        """The sets at a path. Raises BadSetting in one sentence that says what was expected there."""
        if not path.is_dir():
            raise BadSetting(f"{self.title} is expected as a folder with {self.expects}; there is none at {path}")
        try:
            found = list(self.read(path))
        except _Missing as error:
            raise BadSetting(
                f"{self.title} is expected as a folder with {self.expects}; {path} lacks {error}"
            ) from None
        return found


class _Missing(Exception):
    """What a folder lacks."""


def _in(root: Path, *names: str) -> Path:
    """The first of some places in a folder that is there."""
    for name in names:
        if (root / name).exists():
            return root / name
    raise _Missing(names[0])


def _maps(
    pictures: str, maps: str, masks: Callable[[Pair[Path]], Found], splits: Sequence[str] = ("",), **ends: str
) -> Callable[[Path], Sequence[Any]]:
    """Pictures and maps in two folders, whose names hold {} where the split's stands."""

    def read(root: Path) -> Sequence[Any]:
        found: list[PairedSet[Path]] = []
        for split in splits:
            one, other = root / pictures.format(split), root / maps.format(split)
            if one.is_dir() and other.is_dir():
                found.append(map_set(split.replace("/", " ") or root.resolve().name, one, other, masks, **ends))
        if not found:
            tried = [
                text.format(splits[0]) for text in (pictures, maps) if not (root / text.format(splits[0])).is_dir()
            ]
            raise _Missing(" and ".join(tried))
        return found

    return read


def _coco(*sets: tuple[str, str, tuple[str, ...]]) -> Callable[[Path], Sequence[Any]]:
    """Instance files: (name of the set, JSON, folders that may hold its pictures); those that are there are read."""

    def read(root: Path) -> Sequence[Any]:
        found = [
            coco.coco_set(root / file, [root / folder for folder in folders], name)
            for name, file, folders in sets
            if (root / file).is_file()
        ]
        if not found:
            raise _Missing(sets[0][1])
        return found

    return read


def _inside(names: Sequence[str], read: Callable[[Path], Sequence[Any]]) -> Callable[[Path], Sequence[Any]]:
    """Archives unpack to a folder of their own: it may be given, or the one that holds it."""
    return lambda root: read(next((root / name for name in names if (root / name).is_dir()), root))


def _official_coco(root: Path) -> Sequence[Any]:
    if not coco.files(root):
        raise _Missing("annotations/instances_*.json")
    return coco.coco_sets(root)


def _lvis(root: Path) -> Sequence[Any]:
    files = lvis.files(root)
    if not files:
        raise _Missing("lvis_v1_val.json")
    return [lvis.lvis_set(file) for file in files]


def _bsds500(root: Path) -> Sequence[Any]:
    data = _in(root, "BSDS500/data/groundTruth", "data/groundTruth", "groundTruth").parent
    found = []
    for split in ("train", "val", "test"):
        pictures, truths = data / "images" / split, data / "groundTruth" / split
        files = photo.pictures(pictures) if pictures.is_dir() else []
        pairs = [Pair(file.name, file, truths / f"{file.stem}.mat") for file in files]
        pairs = [pair for pair in pairs if pair.truth.is_file()]
        if pairs:
            found.append(PairedSet(split, pairs, encodings.bsds500))
    if not found:
        raise _Missing("groundTruth/test/*.mat")
    return found


def _ade20k(root: Path) -> Sequence[Any]:
    images = _in(root, "images/ADE", "images")
    found = []
    for split in ("training", "validation"):
        if (images / split).is_dir():
            files = photo.pictures(images / split, (".jpg",))
            pairs = [Pair(within(one, images / split), one, one.with_name(f"{one.stem}_seg.png")) for one in files]
            pairs = [pair for pair in pairs if pair.truth.is_file()]
            if pairs:
                found.append(PairedSet(split, pairs, encodings.ade20k))
    if not found:
        raise _Missing("images/validation/**/ADE_val_*_seg.png")
    return found


def _hypersim(root: Path) -> Sequence[Any]:
    pairs = []
    for file in sorted(root.rglob("scene_cam_*_final_preview/frame.*.tonemap.jpg")):
        camera = file.parent.name.removesuffix("_final_preview")
        frame = file.name.removesuffix(".tonemap.jpg")
        truth = file.parent.parent / f"{camera}_geometry_hdf5" / f"{frame}.semantic_instance.hdf5"
        if truth.is_file():
            pairs.append(Pair(within(file, root), file, truth))
    if not pairs:
        raise _Missing("ai_*/images/scene_cam_00_final_preview/frame.0000.tonemap.jpg with its semantic_instance.hdf5")
    return [PairedSet("hypersim", pairs, encodings.hypersim, "CC BY-SA 3.0")]


def _ndd20(root: Path) -> Sequence[Any]:
    found = []
    for part in ("ABOVE", "BELOW"):
        if (root / f"{part}_LABELS.json").is_file() and (root / part).is_dir():
            found.append(drawn.via_set(root / f"{part}_LABELS.json", root / part, part.lower()))
    if not found:
        raise _Missing("ABOVE_LABELS.json with ABOVE")
    return found


def _doors(root: Path) -> Sequence[Any]:
    parts = sorted(one.parent for one in root.rglob("Rock_all") if (one.parent / "img").is_dir())
    if not parts:
        raise _Missing("Te*/img with Te*/Rock_all")
    return [map_set(one.name, one / "img", one / "Rock_all", BINARY) for one in parts]


def _ishape(root: Path) -> Sequence[Any]:
    found = []
    for part in ("antenna", "branch", "fence", "hanger", "log", "wire"):
        for split in ("train", "val"):
            folder = root / part / split
            if (folder / "image").is_dir() and (folder / "instance_map").is_dir():
                one = map_set(f"{part} {split}", folder / "image", folder / "instance_map", INSTANCES)
                one.licence = "CC0"
                found.append(one)
    if not found:
        raise _Missing("antenna/val/image with antenna/val/instance_map")
    return found


def _ovis(root: Path) -> Sequence[Any]:
    # the labels of the other splits are held back by its makers
    file = _in(root, "annotations_train.json", "annotations/annotations_train.json")
    return [FrameSet(file, [root / "train", root / "train_img", root], "train")]


def _ppdls(root: Path) -> Sequence[Any]:
    plants = _in(root, "Plant")
    return [map_set("plants", plants, plants, INSTANCES, cut="_rgb", add="_label")]


def _streets(root: Path) -> Sequence[Any]:
    folder = root / "vehicleannotations" if (root / "vehicleannotations").is_dir() else root
    file = _in(folder, "annotations/vehicle-annotations.json")
    return [drawn.via_set(file, _in(folder, "images"), "streets")]


def _visor(root: Path) -> Sequence[Any]:
    data = root / "GroundTruth-SparseAnnotations" if (root / "GroundTruth-SparseAnnotations").is_dir() else root
    found = []
    for split in ("train", "val"):
        files = sorted((data / "annotations" / split).glob("*.json"))
        frames = next((one for one in (data / "rgb_frames" / split, data / "rgb_frames") if one.is_dir()), None)
        if files and frames is not None:
            found.append(drawn.visor_set(files, frames, split))
    if not found:
        raise _Missing("annotations/val/*.json with rgb_frames/val")
    return found


def _woodscape(root: Path) -> Sequence[Any]:
    return [drawn.woodscape_set(_in(root, "instance_annotations"), _in(root, "rgb_images"))]


def _unsure(why: str) -> Callable[[Path], Sequence[Any]]:
    def read(root: Path) -> Sequence[Any]:
        raise BadSetting(why)

    return read


_PIDRAY = [(f"test {part}", f"annotations/xray_test_{part}.json", (part,)) for part in ("easy", "hard", "hidden")]
_ZEROWASTE = [(part, f"{part}/labels.json", (f"{part}/data",)) for part in ("train", "val", "test")]
_TRASHCAN = [(part, f"instances_{part}_trashcan.json", (part,)) for part in ("train", "val")]
_PLITTERSDORF = [(part, f"{part}.json", ("images",)) for part in ("train", "val", "test")]
_NDISPARK = [
    (part, f"{part}/{part}_coco_annotations.json", (f"{part}/imgs", part)) for part in ("train", "validation", "test")
]
_SPLITS = ("train", "val", "test_indomain", "test_outdomain")

NAMED: Mapping[str, Named] = {
    "ade20k": Named("ADE20K", "images/ADE/validation/.../ADE_val_*.jpg and *_seg.png beside", _ade20k),
    "bbbc038v1": Named(
        "BBBC038v1",
        "stage1_train/ID/images/ID.png and stage1_train/ID/masks/*.png",
        lambda root: [objects_set(root / "stage1_train" if (root / "stage1_train").is_dir() else root, "stage1_train")],
    ),
    "cityscapes": Named(
        "Cityscapes",
        "leftImg8bit/val/CITY/*_leftImg8bit.png and gtFine/val/CITY/*_gtFine_instanceIds.png",
        _maps(
            "leftImg8bit/{}",
            "gtFine/{}",
            NumberMap(ignore=(), least=1000, divisor=1000, names=CITYSCAPES),
            ("train", "val"),
            cut="_leftImg8bit",
            add="_gtFine_instanceIds",
        ),
    ),
    "doors": Named("DOORS", "Regression/Te*/img/*.png and Regression/Te*/Rock_all/*.png", _doors),
    "dram": Named(
        "DRAM",
        "test/MOVEMENT/ARTIST/*.jpg and labels/MOVEMENT/ARTIST/*.png, as DRAM_processed has them",
        _inside(("DRAM_processed", "DRAM_500"), _maps("test", "labels", NumberMap(names=DRAM, named=True))),
    ),
    "egohos": Named(
        "EgoHOS",
        "val/image/*.jpg and val/label/*.png",
        _maps("{}/image", "{}/label", NumberMap(ignore=(), names=EGOHOS), _SPLITS),
    ),
    "gtea": Named(
        "GTEA (Hand2K)",
        "GTEA_GAZE_PLUS/Images/*.jpg and GTEA_GAZE_PLUS/Masks/*.png",
        _inside(
            ("GTEA_hand2k/GTEA_GAZE_PLUS", "GTEA_GAZE_PLUS"),
            _maps("Images", "Masks", NumberMap(bright=True, pieces=True)),
        ),
    ),
    "hypersim": Named(
        "Hypersim",
        "ai_*/images/scene_cam_*_final_preview/*.tonemap.jpg and scene_cam_*_geometry_hdf5/*.semantic_instance.hdf5",
        _hypersim,
    ),
    "ibd": Named(
        "IBD",
        "its folders",
        _unsure("IBD is not read: what its labels look like could not be made sure; convert it to COCO first"),
    ),
    "ishape": Named("iShape", "{antenna,branch,fence,hanger,log,wire}/val/{image,instance_map}", _ishape),
    "lvis": Named("LVIS", "lvis_v1_val.json and COCO's folders train2017 and val2017", _lvis),
    "ndd20": Named("NDD20", "ABOVE/*.jpg with ABOVE_LABELS.json, and BELOW alike", _ndd20),
    "ndispark": Named("NDISPark", "train/imgs/*.jpg and train/train_coco_annotations.json", _coco(*_NDISPARK)),
    "ovis": Named("OVIS", "annotations_train.json and train/VIDEO/*.jpg", _ovis),
    "ppdls": Named(
        "PPDLS",
        "Plant/*/*_rgb.png and Plant/*/*_label.png",
        _inside(("Plant_Phenotyping_Datasets", "Plant_Phenotyping_Datasets/Plant_Phenotyping_Datasets"), _ppdls),
    ),
    "plittersdorf": Named(
        "Plittersdorf",
        "images/*.jpg and train.json, val.json, test.json",
        _inside(("plittersdorf_instance_segmentation_coco",), _coco(*_PLITTERSDORF)),
    ),
    "streets": Named(
        "STREETS", "vehicleannotations/images and vehicleannotations/annotations/vehicle-annotations.json", _streets
    ),
    "timberseg": Named(
        "TimberSeg",
        "prescaled/*.png and prescaled/coco_annotation_rotated.json",
        _coco(("timberseg", "prescaled/coco_annotation_rotated.json", ("prescaled",))),
    ),
    "trashcan": Named(
        "TrashCan",
        "instance_version/val/*.jpg and instance_version/instances_val_trashcan.json",
        _inside(("dataset/instance_version", "instance_version"), _coco(*_TRASHCAN)),
    ),
    "visor": Named("VISOR", "GroundTruth-SparseAnnotations/{annotations,rgb_frames}/val", _visor),
    "woodscape": Named("WoodScape", "rgb_images/*.png and instance_annotations/*.json", _woodscape),
    "pidray": Named(
        "PIDRay",
        "{easy,hard,hidden}/*.png and annotations/xray_test_{easy,hard,hidden}.json",
        _coco(*_PIDRAY, ("train", "annotations/xray_train.json", ("train",))),
    ),
    "zerowaste-f": Named(
        "ZeroWaste-f",
        "splits_final_deblurred/val/data/*.PNG and splits_final_deblurred/val/labels.json",
        _inside(("splits_final_deblurred", "zerowaste-f-final/splits_final_deblurred"), _coco(*_ZEROWASTE)),
    ),
    "coco2017": Named("COCO", "annotations/instances_val2017.json and val2017/*.jpg", _official_coco),
    "bsds500": Named(
        "BSDS500", "BSDS500/data/images/test/*.jpg and BSDS500/data/groundTruth/test/*.mat", _bsds500
    ),
    "dis5k": Named(
        "DIS5K",
        "DIS-VD/im/*.jpg and DIS-VD/gt/*.png, and DIS-TE1 to DIS-TE4 alike",
        _inside(
            ("DIS5K",),
            _maps("{}/im", "{}/gt", BINARY, ("DIS-VD", "DIS-TE1", "DIS-TE2", "DIS-TE3", "DIS-TE4", "DIS-TR")),
        ),
    ),
    "thinobject5k": Named(
        "ThinObject5K",
        "images_test/*.jpg and masks_test/*.png",
        _inside(
            ("thin_object_detection/ThinObject5K", "ThinObject5K"),
            _maps("images{}", "masks{}", BINARY, ("_test", "_train", "")),
        ),
    ),
}  # fmt: skip
"""By the name that `open_data` takes as kind."""

SUITE = (
    *("ade20k", "bbbc038v1", "cityscapes", "doors", "dram", "egohos", "gtea", "hypersim", "ibd", "ishape", "lvis"),
    *("ndd20", "ndispark", "ovis", "ppdls", "plittersdorf", "streets", "timberseg", "trashcan", "visor", "woodscape"),
    *("pidray", "zerowaste-f"),
)
"""The 23 of the paper."""
