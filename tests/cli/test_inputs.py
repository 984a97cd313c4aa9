"""Which pictures are meant, and names for their results that never meet."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anymask.cli.inputs import pictures, titles


@pytest.fixture
def folder(tmp_path):
    for name in (
        "b.jpg",
        "a.PNG",
        "notes.txt",
        ".hidden.png",
        "a.overlay.png",
        "a.mask.png",
        "a.mask.2.png",
        "sub/c.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_a_folder_gives_its_pictures_by_name_without_results_of_earlier_runs(folder):
    found, problems = pictures([str(folder)])
    assert [path.name for path in found] == ["a.PNG", "b.jpg"] and not problems


def test_patterns_are_expanded_where_the_shell_did_not(folder):
    assert [path.name for path in pictures([f"{folder}/*.jpg"])[0]] == ["b.jpg"]
    assert "c.png" in [path.name for path in pictures([f"{folder}/**/*.png"])[0]]


def test_a_file_is_taken_whatever_it_is_called_and_only_once(folder):
    name = str(folder / "notes.txt")
    found, _ = pictures([name, name, str(folder / "sub" / ".." / "notes.txt"), str(folder / "b.jpg"), str(folder)])
    assert [path.name for path in found] == ["notes.txt", "b.jpg", "a.PNG"]


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path):
    (tmp_path / "a[1].png").write_bytes(b"")
    assert pictures([str(tmp_path / "a[1].png")])[0] == [tmp_path / "a[1].png"]


def test_what_matches_nothing_is_a_problem_and_the_rest_goes_on(folder):
    (folder / "empty").mkdir()
    found, problems = pictures([f"{folder}/*.gif", str(folder / "empty"), str(folder / "b.jpg")])
    assert [path.name for path in found] == ["b.jpg"]
    assert [str(problem).split("/")[0] for problem in problems] == ["no file matches ", "the folder "]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["cat.jpg"], ["cat"]),
        (["cat.jpg", "dog.jpg"], ["cat", "dog"]),
        (["a/cat.jpg", "b/cat.jpg"], ["a_cat", "b_cat"]),
        (["a/cat.jpg", "b/cat.png", "dog.png"], ["a_cat", "b_cat", "dog"]),
        (["cat.jpg", "cat.png"], ["cat.jpg", "cat.png"]),
        (["x/a/cat.jpg", "y/a/cat.jpg"], ["x_a_cat", "y_a_cat"]),
        (["Cat.jpg", "b/cat.jpg"], None),
        (["a_b/c.png", "a/b_c.png"], None),
        (["a/b/c.png", "a_b/c.png", "b/c.png", "b_c.png"], None),
    ],
)
def test_results_of_different_files_have_different_names(paths, names):
    found = titles([Path(path) for path in paths])
    assert names is None or found == names
    assert len({name.casefold() for name in found}) == len(paths)


@given(
    st.lists(st.text("ab._/", min_size=1, max_size=8), unique_by=lambda text: Path("/r", text.strip("/")), max_size=8)
)
def test_no_choice_of_names_makes_two_results_meet(texts):
    paths = [Path("/r", text.strip("/")) for text in texts]
    found = titles(paths)
    assert len({name.casefold() for name in found}) == len(paths)
    assert all("/" not in name for name in found)


def test_folders_within_folders_are_searched_on_request_and_results_are_not(tmp_path):
    for name in ("b.png", "a/c.png", "a/out/d.png", ".hidden/e.png", "z/f.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")

    def found(**how):
        return [path.relative_to(tmp_path).as_posix() for path in pictures([str(tmp_path)], **how)[0]]

    assert found() == ["b.png"]
    assert found(recursive=True) == ["b.png", "a/c.png", "a/out/d.png"]
    assert found(recursive=True, apart_from=tmp_path / "a" / "out") == ["b.png", "a/c.png"]
