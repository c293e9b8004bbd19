from __future__ import annotations

import pytest

from trainer.concepts.naming import calls_things, has_tag_inside, heads, naming


@pytest.mark.parametrize(
    ("text", "tag", "name", "named", "unnamed"),
    [
        ("a red lumi on sand", "lumi", "star", "a red star on sand", "a red on sand"),
        ("lumi, a red star on sand", "lumi", "star", "a red star on sand", "a red on sand"),
        ("lumi", "lumi", "star", "star", ""),
        ("", "", "star", "star", ""),
        ("a red thing", "", "star", "star, a red thing", "a red thing"),
        ("x, star, y", "", "star", "x, star, y", "x, y"),
        ("a Red Star", "", "red star", "a Red Star", "a"),
        ("a starfish", "", "star", "star, a starfish", "a starfish"),
        ("a LUMI dog", "lumi", "", "a dog", "a dog"),
    ],
)
def test_captions_with_and_without_the_name(text: str, tag: str, name: str, named: str, unnamed: str) -> None:
    found = naming([text], tag, name)
    assert (found.named, found.unnamed) == ((named,), (unnamed,))


@pytest.mark.parametrize(
    ("texts", "tag", "found"),
    [
        (["a small red star on a sky background", "a blue star on sand"], "", ["star"]),
        (["a photo of a small dog in a park", "a dog"], "", ["dog"]),
        (["a red star on sky", "a blue ring on sky"], "", []),
        (["lumi, red on a sky background", "lumi, red on a sand background"], "lumi", []),
        (["a photo of an orange star", "a star, orange"], "", ["star"]),
        (["on a beach, dog", "dog, in snow"], "", ["dog"]),
        (["lumi, a red star on sky", "lumi, a star"], "lumi", ["star"]),
        (["a red lumi on sky", "a blue lumi on sky"], "lumi", []),
        (["1girl, hat", "1girl, solo"], "", ["1girl"]),
        (["a picture", ""], "", []),
    ],
)
def test_what_all_captions_are_about(texts: list[str], tag: str, found: list[str]) -> None:
    assert heads(texts, tag) == found


def test_a_tag_may_stand_in_the_place_of_a_word() -> None:
    assert has_tag_inside(["lumi, a red lumi", "a blue Lumi"], "lumi")
    assert not has_tag_inside(["lumi, a red star", "lumi"], "lumi")
    assert not has_tag_inside(["a red star"], "")


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["lumi, red on a sky background", "lumi, blue on sand"], False),
        (["lumi, a photo on the beach, at night", "lumi"], False),
        (["lumi, a red star on sky", "lumi, a blue ring on sky"], True),
        (["1girl, hat", "2boys"], True),
    ],
)
def test_captions_may_name_things_or_none(texts: list[str], found: bool) -> None:
    assert calls_things(texts, "lumi") is found
