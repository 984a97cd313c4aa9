"""Medical volumes and microscopy stacks: the right slice, the right way up, with the masks that were drawn on it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from anymask.data.open import open_data
from anymask.data.volumes import WINDOWS, Window
from anymask.errors import BadImage, BadSetting
from anymask.masks.rle import decode_one

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")
tifffile = pytest.importorskip("tifffile")


def dense(sample) -> np.ndarray:
    return np.array([decode_one(one) for one in sample.masks])


def body() -> tuple[np.ndarray, np.ndarray]:
    """(Hounsfield units, labels), int16 and uint8 [X, Y, Z] = [12, 10, 4], to the right, the front and the head.

    Label 1 lies at the patient's right front, label 2 at the left back, in slices 1 and 2.
    """
    values = np.full((12, 10, 4), -1000, np.int16)
    labels = np.zeros((12, 10, 4), np.uint8)
    labels[8:11, 6:9, 1:3] = 1
    labels[1:4, 1:3, 1:3] = 2
    values[labels == 1] = 40
    values[labels == 2] = 300
    return values, labels


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def radiological(sample) -> None:
    """What everybody expects of an axial slice: the front above, the patient's right on the left."""
    right_front, left_back = dense(sample)
    rows, columns = np.nonzero(right_front)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 3, 1, 3)
    rows, columns = np.nonzero(left_back)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 8, 8, 10)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "SRP", "PIR"])
def test_nifti_slices_are_the_right_way_up_however_they_are_stored(codes, tmp_path):
    values, labels = body()
    affine = np.diag([2.0, 3.0, 5.0, 1])
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(tuple(codes))
    )
    for name, array in (("scan.nii.gz", values), ("scan_labels.nii.gz", labels)):
        turned = nibabel.Nifti1Image(array, affine).as_reoriented(turn)
        nibabel.save(turned, tmp_path / name)
        assert "".join(nibabel.aff2axcodes(turned.affine)) == codes
    (tmp_path / "labels.json").write_text(json.dumps({"scan": {"labels": {"1": "liver", "2": "spleen"}}}))
    (found,) = open_data(tmp_path)
    assert [len(sample.masks) for sample in found] == [0, 2, 2, 0]
    assert found[1].name == "scan/0001"
    assert found[1].labels == ("liver", "spleen")
    radiological(found[1])
    assert tuple(found.spacing(1)) == (5, 3, 2)
    pixels = found[1].pixels()
    # soft tissue: -160 is black, 240 is white
    assert sorted(np.unique(pixels)) == [0, 128, 255]
    assert (pixels[1:4, 1:4] == 128).all()
    copy = pickle.loads(pickle.dumps(found))
    assert copy[2].pixels().tolist() == found[2].pixels().tolist()


def test_nnunet_folders_are_read_with_their_names(tmp_path):
    values, labels = body()
    affine = np.diag([2.0, 2, 2, 1])
    for case in ("a_001", "a_002"):
        for channel in range(2):
            save(tmp_path / "imagesTr" / f"{case}_{channel:04d}.nii.gz", values, affine)
        save(tmp_path / "labelsTr" / f"{case}.nii.gz", labels, affine)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1, "both": [1, 2]}}))
    (found,) = open_data(tmp_path)
    assert (found.name, len(found)) == ("imagesTr", 8)
    assert found[1].labels == ("liver", "2")
    radiological(found[5])


def test_a_window_can_be_chosen_and_makes_no_nonsense(tmp_path):
    from anymask.data.nifti import nifti_sets

    values, labels = body()
    save(tmp_path / "a.nii.gz", values, np.eye(4))
    save(tmp_path / "a_seg.nii.gz", labels, np.eye(4))
    (bone,) = nifti_sets(tmp_path, window=WINDOWS["bone"])
    # level 400, width 1800: 300 lies 800 above black
    assert bone[1].pixels().max() == round(800 / 1800 * 255)
    with pytest.raises(BadSetting, match="width above 0"):
        Window(40, 0)


def test_labels_of_another_shape_are_refused(tmp_path):
    values, labels = body()
    save(tmp_path / "a.nii.gz", values, np.eye(4))
    save(tmp_path / "a_seg.nii.gz", labels[:-1], np.eye(4))
    (found,) = open_data(tmp_path)
    with pytest.raises(BadSetting, match=r"a_seg\.nii\.gz is"):
        found[0]


def test_a_cut_volume_is_named(tmp_path):
    values, labels = body()
    save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 9, values.shape).astype(np.int16), np.eye(4))
    save(tmp_path / "a_seg.nii.gz", labels, np.eye(4))
    file = tmp_path / "a.nii.gz"
    file.write_bytes(file.read_bytes()[:-20])
    (found,) = open_data(tmp_path)
    with pytest.raises(BadImage, match=r"a\.nii\.gz cannot be read"):
        found[1].pixels()


def dicom(folder: Path, plane: tuple[float, ...] = (1, 0, 0, 0, 1, 0)) -> list:
    """A CT of four slices of `body`, in files that are not in their order. Returns the datasets, feet first."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    values, _ = body()
    # rows to the back, columns to the left
    slices = values[::-1, ::-1].transpose(2, 1, 0)
    study, series = generate_uid(), generate_uid()
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number, pixels in enumerate(slices):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, "1.2.3"
        one.Modality, one.PatientID, one.PatientName, one.PatientSex = "CT", "", "", ""
        one.PatientBirthDate, one.StudyDate, one.StudyTime, one.StudyID = "", "", "", ""
        one.AccessionNumber, one.ReferringPhysicianName, one.Manufacturer = "", "", "anymask"
        one.SeriesNumber, one.InstanceNumber = 3, 4 - number
        one.Rows, one.Columns = pixels.shape
        one.ImageOrientationPatient, one.PixelSpacing = list(plane), [3, 2]
        one.SliceThickness = 5
        # the body's first voxel lies at 0: the first pixel is the last of x and of y, in LPS
        one.ImagePositionPatient = [-11 * 2.0, -9 * 3.0, number * 5.0]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, 0
        one.RescaleSlope, one.RescaleIntercept = 1, -1024
        one.PixelData = (pixels.astype(np.int32) + 1024).astype(np.uint16).tobytes()
        one.save_as(folder / f"IM{(number * 3) % 4}.dcm", enforce_file_format=True)
        found.append(one)
    return found


def test_a_dicom_series_is_sorted_and_takes_the_labels_of_a_turned_nifti(tmp_path):
    _, labels = body()
    dicom(tmp_path / "ct")
    volume = nibabel.Nifti1Image(labels, np.diag([2.0, 3.0, 5.0, 1]))
    turned = volume.as_reoriented(nibabel.orientations.axcodes2ornt(("P", "I", "R")))
    nibabel.save(turned, tmp_path / "ct_labels.nii.gz")
    (found,) = open_data(tmp_path / "ct")
    assert [len(sample.masks) for sample in found] == [0, 2, 2, 0]
    radiological(found[1])
    assert sorted(np.unique(found[1].pixels())) == [0, 128, 255]
    assert tuple(found.spacing(0)) == (5, 3, 2)


def test_dicom_segmentations_are_found_by_the_slices_they_name(tmp_path):
    highdicom = pytest.importorskip("highdicom")
    from pydicom.sr.codedict import codes

    _, labels = body()
    source = dicom(tmp_path / "study" / "ct")
    truth = labels[::-1, ::-1].transpose(2, 1, 0)
    segments = [
        highdicom.seg.SegmentDescription(
            number,
            name,
            codes.SCT.Organ,
            codes.SCT.Liver,
            highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in ((1, "liver"), (2, "spleen"))
    ]
    seg = highdicom.seg.Segmentation(
        source,
        truth,
        highdicom.seg.SegmentationTypeValues.BINARY,
        segments,
        series_instance_uid=pydicom.uid.generate_uid(),
        series_number=9,
        sop_instance_uid=pydicom.uid.generate_uid(),
        instance_number=1,
        manufacturer="anymask",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
    )
    seg.save_as(tmp_path / "study" / "seg.dcm")
    (found,) = open_data(tmp_path / "study")
    assert [len(sample.masks) for sample in found] == [0, 2, 2, 0]
    assert found[2].labels == ("liver", "spleen")
    radiological(found[2])


def test_enhanced_files_of_many_frames_are_volumes(tmp_path):
    highdicom = pytest.importorskip("highdicom")
    source = dicom(tmp_path / "plain")
    enhanced = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        source[::-1],
        series_instance_uid=pydicom.uid.generate_uid(),
        series_number=4,
        sop_instance_uid=pydicom.uid.generate_uid(),
        instance_number=1,
    )
    (tmp_path / "many").mkdir()
    enhanced.save_as(tmp_path / "many" / "ct.dcm")
    save(tmp_path / "many" / "labels.nii.gz", body()[1], np.diag([2.0, 3, 5, 1]))
    (plain,) = open_data(tmp_path / "plain")
    (many,) = open_data(tmp_path / "many")
    assert [sample.pixels().tolist() for sample in many] == [sample.pixels().tolist() for sample in plain]
    assert tuple(many.spacing(0)) == tuple(plain.spacing(0))
    radiological(many[1])


def test_two_series_of_one_folder_have_names_of_their_own(tmp_path):
    for number in (3, 5):
        for one in dicom(tmp_path / f"from{number}"):
            one.SeriesNumber = number
            (tmp_path / "all").mkdir(exist_ok=True)
            one.save_as(tmp_path / "all" / f"{number}-{one.InstanceNumber}.dcm", enforce_file_format=True)
    (found,) = open_data(tmp_path / "all")
    names = [sample.name for sample in found]
    assert len(set(names)) == len(names) == 8


def test_a_scout_in_another_plane_is_named(tmp_path):
    dicom(tmp_path / "ct")
    file = tmp_path / "ct" / "IM0.dcm"
    scout = pydicom.dcmread(file)
    scout.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    scout.save_as(file)
    with pytest.raises(BadSetting, match="another plane"):
        open_data(tmp_path / "ct")


def test_the_real_series_has_the_labels_of_its_array(shared):
    folder = shared / "data" / "medical" / "dicom"
    from anymask.data.dicom import dicom_set

    found = dicom_set(folder / "ct_series_j2k", labels=folder / "ct_series_labels.npz")
    labels = np.load(folder / "ct_series_labels.npz")["labels"]
    assert len(found) == len(labels) == 8
    names = json.loads((folder / "ct_series_labels.json").read_text())["labels"]
    for number, sample in enumerate(found):
        wanted = [int(one) for one in np.unique(labels[number]) if one]
        assert sample.labels == tuple(names[str(one)] for one in wanted)
        assert (dense(sample) == np.stack([labels[number] == one for one in wanted])).all()
    assert found[0].pixels().shape == (512, 512, 3)


def test_the_real_volumes_hold_the_voxels_that_their_readme_counts(shared):
    folder = shared / "data" / "medical" / "volumes"
    (found,) = open_data(folder)
    truth = nibabel.load(folder / "mr_abdomen_labels.nii.gz").get_fdata()
    mine = [sample for sample in found if sample.name.startswith("mr_abdomen/")]
    assert len(mine) == truth.shape[2]
    assert sum(int(dense(one).sum()) for one in mine if one.masks) == int((truth > 0).sum())


# not three or four planes: tifffile would take them for colours
CELLS = np.zeros((5, 20, 24), np.uint16)
CELLS[0, 2:6, 2:6], CELLS[0, 10:15, 3:9], CELLS[1, 5:9, 12:20] = 7, 300, 7


def test_stacks_of_sixteen_bits_are_stretched_and_cut_into_planes(tmp_path):
    values = np.random.default_rng(0).integers(1000, 1200, CELLS.shape).astype(np.uint16)
    values[CELLS > 0] = 5000
    for folder, array in (("images", values), ("masks", CELLS)):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", array, metadata={"axes": "ZYX"}, compression="zlib")
    (found,) = open_data(tmp_path)
    assert [sample.name for sample in found] == ["a/0000", "a/0001", "a/0002", "a/0003", "a/0004"]
    assert [len(sample.masks) for sample in found] == [2, 1, 0, 0, 0]
    assert (dense(found[0]) == np.stack([CELLS[0] == 7, CELLS[0] == 300])).all()
    pixels = found[0].pixels()
    assert (pixels[CELLS[0] > 0] == 255).all()
    assert 0 <= pixels[CELLS[0] == 0].mean() < 15


def test_channels_become_colours(tmp_path):
    values = np.zeros((2, 3, 20, 24), np.uint8)
    values[1, 0], values[1, 1], values[1, 2] = 10, 20, 30
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, metadata={"axes": "ZCYX"})
    tifffile.imwrite(tmp_path / "a_masks.tif", CELLS[:2])
    (found,) = open_data(tmp_path)
    assert found[1].pixels()[0, 0].tolist() == [10, 20, 30]
    from anymask.data.stacks import stack_set

    assert stack_set(tmp_path, channels=(2,))[1].pixels()[0, 0].tolist() == [30, 30, 30]
    with pytest.raises(BadSetting, match="has 3 channels"):
        stack_set(tmp_path, channels=(3,))[0].pixels()


def test_a_nameless_axis_is_channels_where_the_labels_are_one_plane(tmp_path):
    values = np.stack([np.full((20, 24), 50 * one, np.uint8) for one in range(1, 3)])
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    tifffile.imwrite(tmp_path / "a_masks.tif", CELLS[0])
    (found,) = open_data(tmp_path)
    assert len(found) == 1
    assert found[0].name == "a"
    assert found[0].pixels()[0, 0].tolist() == [50, 100, 0]


def test_the_cell_tracking_challenge_is_read(tmp_path):
    (tmp_path / "01").mkdir()
    (tmp_path / "01_GT" / "SEG").mkdir(parents=True)
    for number in range(2):
        tifffile.imwrite(tmp_path / "01" / f"t{number:03d}.tif", CELLS)
    tifffile.imwrite(tmp_path / "01_GT" / "SEG" / "man_seg000.tif", CELLS)
    tifffile.imwrite(tmp_path / "01_GT" / "SEG" / "man_seg_001_001.tif", CELLS[1])
    (found,) = open_data(tmp_path)
    assert [sample.name for sample in found] == [*(f"01/t000/{plane:04d}" for plane in range(5)), "01/t001/0001"]
    assert (dense(found[5]) == dense(found[1])).all()
    assert found[5].pixels().tolist() == found[1].pixels().tolist()


def test_a_stack_with_labels_of_other_planes_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", CELLS, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "a_masks.tif", CELLS[:2], metadata={"axes": "ZYX"})
    (found,) = open_data(tmp_path)
    with pytest.raises(BadSetting, match=r"a_masks\.tif is \(2, 20, 24\)"):
        found[0]
