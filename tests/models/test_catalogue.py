"""Every checkpoint has a card, names are forgiving but never ambiguous, and strangers can add models."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint

import pytest

from anymask.errors import BadSetting, UnknownModel
from anymask.models import catalogue
from anymask.models.card import Card, WeightFile

PUBLISHED = {
    "sam-vit-b": "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    "sam-vit-l": "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    "sam-vit-h": "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    "sam2-hiera-tiny": "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
    "sam2.1-hiera-large": "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
    "sam3": "9999e2341ceef5e136daa386eecb55cb414446a00ac2b55eb2dfd2f7c3cf8c9e",
    "mobile-sam": "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
    "lite-medsam": "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
}


CHECKPOINTS = """
sam-vit-b sam-vit-l sam-vit-h sam2-hiera-tiny sam2-hiera-small sam2-hiera-base-plus sam2-hiera-large
sam2.1-hiera-tiny sam2.1-hiera-small sam2.1-hiera-base-plus sam2.1-hiera-large sam3 sam3.1 sam-3d-objects
sam-3d-body-dinov3 sam-3d-body-vith sam-hq-vit-b sam-hq-vit-l sam-hq-vit-h sam-hq-vit-tiny
sam2.1-hq-hiera-large mobile-sam efficient-sam-ti efficient-sam-s fast-sam-x fast-sam-s edge-sam edge-sam-3x
edge-tam efficient-tam-s efficient-tam-ti efficientvit-sam-l0 efficientvit-sam-l1 efficientvit-sam-l2
efficientvit-sam-xl0 efficientvit-sam-xl1 tiny-sam grounding-dino-t grounding-dino-b medsam sam-med2d-b
sam-med3d-turbo seem-focalt seem-focall seem-samvitb seem-samvitl semantic-sam-swint semantic-sam-swinl
micro-sam-vit-b-lm persam sam-pt track-anything inpaint-anything lite-medsam
"""


@pytest.mark.parametrize(("name", "sha256"), PUBLISHED.items())
def test_published_checksums_are_on_the_cards(name, sha256):
    assert catalogue.card(name).files[0].sha256 == sha256


@pytest.mark.parametrize("kind", CHECKPOINTS.split())
def test_every_published_checkpoint_has_a_card(kind):
    assert kind in catalogue.cards()


def test_cards_are_complete_enough_to_act_on():
    for card in catalogue.cards().values():
        assert card.title and card.licence and card.can, card.name
        if not card.available:
            assert card.later and card.instead, f"{card.name} must say what brings it and what to use now"
        if card.instead:
            assert catalogue.card(card.instead).available, f"{card.name} points to {card.instead}, which is not there"
        if card.gated:
            assert card.page, f"{card.name} must say where to ask"
        for file in card.files:
            assert re.fullmatch(r"([0-9a-f]{64})?", file.sha256) and re.fullmatch(r"([0-9a-f]{32})?", file.md5)
            assert file.url or card.page or card.name == "anymask-lite", f"{card.name}: nobody says where the file is"


def test_file_names_do_not_collide_in_the_cache_folder():
    names = [file.name for card in catalogue.cards().values() for file in card.files]
    assert len(names) == len(set(names))


def test_sam_1_file_names_carry_the_first_characters_of_their_md5():
    for name in ("sam-vit-b", "sam-vit-l", "sam-vit-h"):
        file = catalogue.card(name).files[0]
        assert file.name.removesuffix(".pth").endswith(file.md5[:6])


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("vit_b", "sam-vit-b"),
        ("vit_h", "sam-vit-h"),
        ("SAM-ViT-L", "sam-vit-l"),
        ("sam_vit_b", "sam-vit-b"),
        ("facebook/sam-vit-huge", "sam-vit-h"),
        ("vit_t", "mobile-sam"),
        ("MobileSAM", "mobile-sam"),
        ("configs/sam2.1/sam2.1_hiera_b+.yaml", "sam2.1-hiera-base-plus"),
    ],
)
def test_names_people_type_are_understood(said, name):
    assert catalogue.card(said).name == name


def test_a_misspelt_name_gets_the_nearest_ones():
    with pytest.raises(UnknownModel, match=r"no model is called 'sam-vit-bb'; did you mean sam-vit-b") as caught:
        catalogue.card("sam-vit-bb")
    assert "anymask models" in str(caught.value)


@pytest.mark.parametrize("said", ["", "qqqqqqqq", 7, None])
def test_a_name_near_to_nothing_is_still_one_sentence(said):
    with pytest.raises(UnknownModel, match="model"):
        catalogue.card(said)


def test_two_models_of_one_name_are_an_error():
    one, other = Card("sam", "one"), Card("other", "two", aliases=("SAM",))
    with pytest.raises(BadSetting, match=r"two models are called 'SAM': 'sam' of here and 'other' of there"):
        catalogue.collect([("here", one), ("there", other)])
    with pytest.raises(BadSetting, match="comes from two places: here and there"):
        catalogue.collect([("here", one), ("there", one)])


def test_other_packages_add_models_by_entry_point(monkeypatch):
    entry = EntryPoint("guest", f"{__name__}:GUEST", catalogue.GROUP)
    broken = EntryPoint("broken", "anymask.no_such_module:CARDS", catalogue.GROUP)
    monkeypatch.setattr(catalogue, "entry_points", lambda group: [broken, entry])
    cards, names = catalogue.collect(catalogue._guests())
    assert list(cards) == ["guest-sam"] and names["guest"] == "guest-sam"


GUEST = Card("guest-sam", "a stranger's model", files=(WeightFile("guest.pth"),), aliases=("guest",))
