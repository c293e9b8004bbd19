from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.trainer.report.samples import HOSTILE, heart, star
from trainer.report.contact_sheet import COLUMN_GAP, MARGIN, PAIR_GAP, SheetRow, contact_sheet

LEFT_COLOR, RIGHT_COLOR = (250, 10, 20), (10, 20, 250)


def plain_row(label: str = "a zorp", size: tuple[int, int] = (64, 64)) -> SheetRow:
    return SheetRow(label, Image.new("RGB", size, LEFT_COLOR), Image.new("RGB", size, RIGHT_COLOR))


def boxes_of(sheet: Image.Image, color: tuple[int, int, int]) -> list[tuple[int, int, int, int]]:
    """(left, top, right, bottom) of each rectangle of one colour, in reading order; right and bottom are inside."""
    mask = (np.asarray(sheet) == color).all(axis=2)
    corners = mask & ~np.roll(mask, 1, axis=0) & ~np.roll(mask, 1, axis=1)
    boxes = []
    for top, left in np.argwhere(corners):
        width, height = mask[top, left:].argmin(), mask[top:, left].argmin()
        assert mask[top : top + height, left : left + width].all(), "the rectangle has a hole"
        boxes.append((int(left), int(top), int(left + width - 1), int(top + height - 1)))
    return boxes


def test_a_small_pair_is_enlarged_by_a_whole_factor_and_stands_side_by_side() -> None:
    sheet = contact_sheet([plain_row()], "title")
    (before,) = boxes_of(sheet, LEFT_COLOR)
    (after,) = boxes_of(sheet, RIGHT_COLOR)
    assert before[2] - before[0] + 1 == 256
    assert before[0] == MARGIN
    assert after[0] - before[2] - 1 == PAIR_GAP
    assert (after[1], after[3]) == (before[1], before[3])
    assert sheet.width - 1 - after[2] == MARGIN
    assert sheet.height - 1 - after[3] == MARGIN


def test_enlarged_pixels_are_exact_squares() -> None:
    sheet = contact_sheet([SheetRow("x", heart(), star())], "title")
    left, top, _, _ = boxes_of(contact_sheet([plain_row("x")], "title"), LEFT_COLOR)[0]
    cell = np.asarray(sheet)[top : top + 256, left : left + 256]
    assert np.array_equal(cell, np.kron(np.asarray(heart()), np.ones((4, 4, 1), dtype=np.uint8)))


def test_many_rows_stand_in_several_columns_in_reading_order() -> None:
    rows = [plain_row(f"row {index}") for index in range(16)]
    sheet = contact_sheet(rows, "title")
    boxes = boxes_of(sheet, LEFT_COLOR)
    assert len(boxes) == len(boxes_of(sheet, RIGHT_COLOR)) == 16
    columns = len({box[0] for box in boxes})
    assert 1 < columns < 16
    assert 0.8 < sheet.width / sheet.height < 2.2
    assert boxes[1][1] == boxes[0][1]
    assert boxes[1][0] - boxes[0][0] == 2 * (boxes[0][2] - boxes[0][0] + 1) + PAIR_GAP + COLUMN_GAP


@pytest.mark.parametrize(("columns", "seen"), [(1, 1), (3, 3), (99, 6)])
def test_the_number_of_columns_can_be_chosen(columns: int, seen: int) -> None:
    sheet = contact_sheet([plain_row() for _ in range(6)], "title", columns=columns)
    assert len({box[0] for box in boxes_of(sheet, LEFT_COLOR)}) == seen


@pytest.mark.parametrize(
    ("size", "shown"),
    [((64, 64), (256, 256)), ((100, 50), (200, 100)), ((256, 192), (256, 192)), ((512, 512), (384, 384))],
)
def test_sizes(size: tuple[int, int], shown: tuple[int, int]) -> None:
    left, top, right, bottom = boxes_of(contact_sheet([plain_row(size=size)], "t"), LEFT_COLOR)[0]
    assert (right - left + 1, bottom - top + 1) == shown


def test_pictures_of_different_sizes_share_one_grid() -> None:
    sheet = contact_sheet([plain_row(size=(64, 64)), plain_row(size=(64, 32))], "t", columns=1)
    square, wide = boxes_of(sheet, LEFT_COLOR)
    assert (square[0], square[2]) == (wide[0], wide[2])
    assert (wide[3] - wide[1] + 1) * 2 == square[3] - square[1] + 1


@pytest.mark.parametrize(
    "label", ["", " ", HOSTILE, "猫" * 400, "w" * 2000, "two\nlines", "\u0301alone", "é ü ß – “x”"]
)
def test_any_label_is_drawn_and_leaves_the_pictures_as_they_are(label: str) -> None:
    sheet = contact_sheet([plain_row(label), plain_row("short")], label, columns=2)
    assert len(boxes_of(sheet, LEFT_COLOR)) == 2
    assert sheet.height < 500, "a long label takes two lines at most"


def test_letters_that_the_font_lacks_are_told_apart_by_their_codes() -> None:
    def drawn(label: str) -> bytes:
        return contact_sheet([plain_row(label)], "t").tobytes()

    assert drawn("猫") == drawn("\\u732b")
    assert drawn("猫") != drawn("犬")
    assert drawn("é") == drawn("e")


def test_the_same_rows_give_the_same_picture() -> None:
    def sheet() -> bytes:
        return contact_sheet([SheetRow("x", heart(), star())], "t").tobytes()

    assert sheet() == sheet()


def test_the_pictures_given_are_left_alone() -> None:
    large = star().resize((600, 600))
    contact_sheet([SheetRow("x", large, large)], "t")
    assert large.size == (600, 600)


@pytest.mark.parametrize(("rows", "columns"), [([], None), ([plain_row()], 0)])
def test_nothing_to_show_is_an_error(rows: list[SheetRow], columns: int | None) -> None:
    with pytest.raises(ValueError, match="at least"):
        contact_sheet(rows, "t", columns=columns)
