"""Pascal VOC: a data set with its pictures, an XML an image, and two label maps in PASCAL's colours.

    JPEGImages/TITLE.jpg   Annotations/TITLE.xml   SegmentationObject/TITLE.png   SegmentationClass/TITLE.png
    ImageSets/Segmentation/trainval.txt

Object k of the XML is value k of SegmentationObject; the smaller of two overlapping masks shows. Empty masks, which
have no box, are left out. Eight bits hold 254 objects beside the background and 255, which VOC keeps for "no matter".
An image with more gets a SegmentationObject of 16 bits grey without colours: numpy readers see the same numbers, and
no object is lost. Source: the VOC2012 development kit's documentation.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anymask.errors import BadSetting
from anymask.masks.masks import Masks
from anymask.masks.rle import encode_one
from anymask.records import labelmap, pictures
from anymask.records.coco import UNNAMED
from anymask.records.record import ImageRef, Provenance, Record
from anymask.records.xmltext import plain
from anymask.records.yolo import class_number

FEW = 254
"""Objects or classes that 8 bits hold."""


def palette() -> NDArray[np.uint8]:
    """PASCAL's 256 colours, uint8 [256, 3]: the bits of a value spread over red, green and blue, highest first."""
    value = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (value >> (3 * bit + channel) & 1) << (7 - bit)
    return colours.astype(np.uint8)


def as_text(record: Record, file_name: str) -> str:
    """The XML. file_name: of the picture. Boxes count pixels from 1 and include the last, as VOC's do.

    Beyond VOC's own: score (predicted IoU), and parent (number of the enclosing object) where there is one.
    """
    masks, (height, width) = record.masks, record.image.size
    folder, _, name = file_name.rpartition("/")
    lines = [
        "<annotation>",
        f"  <folder>{plain(folder)}</folder>",
        f"  <filename>{plain(name)}</filename>",
        "  <source><database>anymask</database></source>",
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
        "  <segmented>1</segmented>",
    ]
    for row, (x0, y0, x1, y1) in enumerate(masks.boxes().astype(np.int64).tolist()):
        label = masks.labels[row]
        cut = int(x0 == 0 or y0 == 0 or x1 == width or y1 == height)
        parent = int(masks.parents[row])
        lines += [
            "  <object>",
            f"    <name>{plain(UNNAMED if label is None else label)}</name>",
            f"    <pose>Unspecified</pose><truncated>{cut}</truncated><difficult>0</difficult>",
            f"    <bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>",
            f"    <score>{round(float(masks.scores[row]), 6)}</score>",
            *([f"    <parent>{parent + 1}</parent>"] if parent >= 0 else []),
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>"]) + "\n"


@dataclass(frozen=True)
class Voc:
    """The format of folder runs. names: of the classes, whose values in SegmentationClass are 1 and on."""

    names: tuple[str, ...] = (UNNAMED,)
    name = "voc"

    def files(self, record: Record, title: str) -> dict[str, bytes]:
        """The files of one image, by relative path. Raises BadSetting for an unknown label or 65,536 masks and more."""
        kept = record.masks[record.masks.areas() > 0]
        record = Record(record.image, kept, record.made_by)
        if len(kept) >= labelmap.DEEP:
            raise BadSetting(
                f"VOC holds {labelmap.DEEP - 1:,} objects an image, got {len(kept):,}; write SA-1B instead"
            )
        if len(self.names) > FEW:
            raise BadSetting(f"VOC holds {FEW} classes, got {len(self.names)}")
        classes = np.array([class_number(label, self.names) + 1 for label in kept.labels], np.int64)
        eight, colours = np.dtype(np.uint8), palette()
        few = len(kept) <= FEW
        objects = labelmap.bands(kept, eight if few else np.dtype(np.uint16))
        picture = pictures.file(record)
        suffix = "jpg" if picture is None else picture[0]
        found = {
            f"Annotations/{title}.xml": as_text(record, f"JPEGImages/{title}.{suffix}").encode("utf-8"),
            f"SegmentationObject/{title}.png": labelmap.png(kept.size, objects, colours if few else None),
            f"SegmentationClass/{title}.png": labelmap.png(kept.size, labelmap.bands(kept, eight, classes), colours),
        }
        if picture is not None:
            found[f"JPEGImages/{title}.{suffix}"] = picture[1]
        return found

    def finish(self, titles: Iterable[str], read: Callable[[str], bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The list of images, one set: how it is split is for its user to say."""
        lines = (f"{title}\n".encode("utf-8", "surrogateescape") for title in titles)
        yield "ImageSets/Segmentation/trainval.txt", lines


def read(folder: str | os.PathLike[str]) -> Iterator[Record]:
    """The records of the images in a VOC folder that have a SegmentationObject, in order of file names.

    Masks are what the map shows of each object, so none overlap; 255 is nobody's. "object" becomes no label. Raises
    BadSetting for what is damaged, OSError for what cannot be opened.
    """
    root = Path(folder)
    annotations, maps = root / "Annotations", root / "SegmentationObject"
    if not annotations.is_dir() or not maps.is_dir():
        raise BadSetting(f"{folder} is no VOC data set: it lacks Annotations or SegmentationObject")
    for file in sorted(annotations.rglob("*.xml")):
        objects = (maps / file.relative_to(annotations)).with_suffix(".png")
        if objects.exists():
            yield _record(file, objects)


def _record(file: Path, objects: Path) -> Record:
    numbers = labelmap.levels(objects)
    try:
        tree = ET.fromstring(file.read_bytes())
        size = (int(_text(tree, "size/height")), int(_text(tree, "size/width")))
        if numbers.shape != size:
            raise BadSetting(f"{objects} is {numbers.shape} (H, W), the image {size}")
        name = "/".join(part for part in (tree.findtext("folder"), _text(tree, "filename")) if part)
        found = tree.findall("object")
        highest = int(numbers[numbers != 255].max(initial=0)) if len(found) <= FEW else int(numbers.max())
        if highest > len(found):
            raise BadSetting(f"{objects} shows object {highest}, the XML has {len(found)}")
        labels = [_text(one, "name") for one in found]
        parents = [int(one.findtext("parent") or 0) - 1 for one in found]
        masks = Masks(
            size,
            [encode_one(numbers == number) for number in range(1, len(found) + 1)],
            scores=[float(one.findtext("score") or 1) for one in found],
            labels=[None if label == UNNAMED else label for label in labels],
            parents=parents,
        )
    except (BadSetting, ET.ParseError, ValueError, OverflowError) as error:
        raise BadSetting(f"{file} is damaged: {error}") from None
    return Record(ImageRef(name, size), masks, Provenance(anymask="", time=""))


def _text(tree: ET.Element, path: str) -> str:
    found = tree.findtext(path)
    if found is None:
        raise BadSetting(f"it has no {path}")
    return found
