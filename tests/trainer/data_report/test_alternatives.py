from __future__ import annotations

from trainer.data_report.alternatives import MOST, Alternatives

SENTENCES = [
    "a red star on a sky background",
    "a blue star on a sand background",
    "an orange ring on a night background",
    "a small green ring on a sky background",
]


def test_other_captions_words_of_the_same_place_come_instead() -> None:
    found = {(one.words, one.instead): one.caption for one in Alternatives(SENTENCES).of(SENTENCES[0])}
    assert found["red", "orange"] == "an orange star on a sky background"
    assert found["red", "blue"] == "a blue star on a sky background"
    assert found["star", "ring"] == "a red ring on a sky background"
    assert found["sky", "sand"] == "a red star on a sand background"
    assert not any("background" in pair for pair in found)
    assert ("sky", "green") not in found, "they stand side by side in a caption"


def test_tags_that_never_stand_together_exclude_each_other() -> None:
    tags = ["1girl, red hair, smile", "1girl, blue hair, smile", "1boy, red hair"]
    found = [(one.words, one.instead) for one in Alternatives(tags).of(tags[0])]
    assert found == [("1girl", "1boy"), ("red hair", "blue hair"), ("smile", "1boy")]


def test_there_are_few_and_none_where_nothing_is_said() -> None:
    many = [f"a word{number} star" for number in range(40)]
    assert len(Alternatives(many).of("a word3 star")) == MOST
    assert Alternatives(["", "star"]).of("") == []
