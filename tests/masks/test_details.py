"""Further columns travel with their rows."""

import pickle

import numpy as np
import pytest

from anymask import Masks
from anymask.errors import BadSetting


def three() -> Masks:
    dense = np.zeros((3, 4, 5), bool)
    dense[0, 0, 0] = dense[1, 1:3, 1:3] = dense[2] = True
    return Masks.from_dense(
        dense, details={"stability_score": [0.9, 0.8, 0.7], "crop_box": np.arange(12).reshape(3, 4)}
    )


def test_details_follow_their_rows_through_picking_joining_and_pickling():
    masks = three()
    picked = masks[[2, 0]]
    assert picked.details["stability_score"].tolist() == [0.7, 0.9]
    joined = Masks.join([picked, masks[1]])
    assert joined.details["crop_box"][:, 0].tolist() == [8, 0, 4]
    again = pickle.loads(pickle.dumps(joined))
    assert again.details["stability_score"].tolist() == [0.7, 0.9, 0.8]


def test_joining_keeps_the_details_that_all_parts_have():
    masks = three()
    assert set(Masks.join([masks, masks.replace(details={"crop_box": np.zeros((3, 4))})]).details) == {"crop_box"}
    assert Masks.join([masks, masks.replace(details=None)]).details == {}


def test_details_cannot_be_changed_in_place():
    masks = three()
    with pytest.raises(TypeError):
        masks.details["new"] = 1
    with pytest.raises(ValueError):
        masks.details["stability_score"][0] = 1


@pytest.mark.parametrize("details", [{"a": [1, 2]}, {"a": ["x", "y", "z"]}, [1, 2, 3], {"a": 1}])
def test_details_that_do_not_fit_are_refused_by_name(details):
    with pytest.raises(BadSetting, match=r"column|details"):
        three().replace(details=details)
