from __future__ import annotations

import math
import re

import numpy as np
import pytest

from tests.trainer.report.samples import metrics
from trainer.report.axes import Axis, evenly, extremes, path, range_of, smoothed, tick_text, top_of, window_for
from trainer.report.data import Metric
from trainer.report.plots import Chart, charts, final_loss


def chart_named(key: str, values: list[Metric]) -> Chart:
    return next(chart for chart in charts(values) if chart.key == key)


def points(data: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", data)]


def test_each_measured_quantity_has_a_chart() -> None:
    assert [chart.key for chart in charts(metrics())] == [
        "loss",
        "loss-by-band",
        "learning-rate",
        "gradient-norm",
        "images-per-second",
        "memory",
    ]


def test_what_was_not_measured_has_none() -> None:
    assert charts([]) == []
    assert [chart.key for chart in charts([Metric(step=1, loss=0.1), Metric(step=2, loss=0.2)])] == ["loss"]


def test_a_band_without_examples_is_left_out_and_the_others_keep_their_names() -> None:
    assert [name for _, name in chart_named("loss-by-band", metrics()).legend] == ["0–25 %", "50–75 %", "75–100 %"]


def test_the_curve_goes_from_the_first_step_to_the_last_and_stays_in_its_frame() -> None:
    for chart in charts(metrics(1000)):
        for drawing in filter(None, (chart.narrow, chart.wide)):
            left, top, right, bottom = drawing.frame
            for line in drawing.lines:
                places = points(line.data)
                assert (places[0][0], places[-1][0]) == (left, right)
                assert all(left <= x <= right and top <= y <= bottom for x, y in places)


def test_a_loss_that_ended_as_no_number_is_not_hidden_behind_an_earlier_one() -> None:
    value = final_loss([Metric(step=1, loss=0.1), Metric(step=2, loss=math.nan)])
    assert value is not None
    assert math.isnan(value)


def test_long_runs_are_drawn_with_few_points_and_keep_their_extremes() -> None:
    values = [Metric(step=step, loss=1.0 + 0.5 * (step == 7777)) for step in range(1, 20_001)]
    raw = chart_named("loss", values).narrow.lines[0]
    assert len(points(raw.data)) <= 700
    _, top, _, bottom = chart_named("loss", values).narrow.frame
    assert min(y for _, y in points(raw.data)) < top + 0.1 * (bottom - top)


def test_values_that_are_not_numbers_break_the_line_and_are_counted() -> None:
    values = [Metric(step=step, loss=math.nan if step in (5, 6) else 0.1) for step in range(1, 11)]
    chart = chart_named("loss", values)
    assert chart.narrow.lines[0].data.count("M") == 2
    assert "2 not a finite number, the first at step 5." in chart.notes


def test_an_unmeasured_value_is_a_gap_and_no_fault() -> None:
    values = [Metric(step=step, loss=0.1, gradient_norm=None if step % 2 else 0.5) for step in range(1, 11)]
    assert not [note for note in chart_named("gradient-norm", values).notes if "finite" in note]


def test_an_outlier_is_cut_named_and_kept_out_of_the_gradient_norms_mean() -> None:
    values = [Metric(step=step, loss=0.1, gradient_norm=500.0 if step == 50 else 1.0) for step in range(1, 201)]
    chart = chart_named("gradient-norm", values)
    assert "1 above the axis, left out of the mean, the highest 500." in chart.notes
    behind, in_front = chart.narrow.lines
    assert min(y for _, y in points(behind.data)) == chart.narrow.frame[1]
    assert len({y for _, y in points(in_front.data)}) == 1


def test_a_loss_that_rises_for_good_is_not_taken_for_an_outlier() -> None:
    values = [Metric(step=step, loss=0.1 if step < 150 else 50.0) for step in range(1, 201)]
    assert not [note for note in chart_named("loss", values).notes if "above" in note]


def test_a_step_measured_twice_counts_once_as_it_was_measured_last() -> None:
    again = [*metrics(100), *(Metric(step=step, loss=7.0) for step in range(50, 101))]
    assert final_loss(again) == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], None), ([0.5], 0.5), ([math.nan, 0.5], 0.5), ([1.0, 2.0, 3.0, 5.0], 10 / 3), ([0.5, math.inf], math.inf)],
)
def test_the_final_loss(values: list[float], expected: float | None) -> None:
    assert final_loss([Metric(step=step + 1, loss=loss) for step, loss in enumerate(values)]) == expected


@pytest.mark.parametrize(
    ("low", "high", "whole", "labels"),
    [
        (0, 1.05, False, ["0", "0.25", "0.50", "0.75", "1.00"]),
        (0, 1e-4, False, ["0", "2e-5", "4e-5", "6e-5", "8e-5", "1e-4"]),
        (0.09, 0.11, False, ["0.090", "0.095", "0.100", "0.105", "0.110"]),
        (1, 600, True, ["200", "400", "600"]),
        (1, 2, True, ["1", "2"]),
        (0, 20_000, True, ["0", "5k", "10k", "15k", "20k"]),
        (0, 3e6, True, ["0", "1M", "2M", "3M"]),
        (-1.0, 1.0, False, ["-1.0", "-0.5", "0", "0.5", "1.0"]),
    ],
)
def test_ticks_are_round(low: float, high: float, whole: bool, labels: list[str]) -> None:
    ticks = Axis(low=low, high=high, start=0, end=100).ticks(5, whole=whole)
    assert [text for _, text in ticks] == labels
    assert all(0 <= place <= 100 for place, _ in ticks)


def test_a_tick_of_two_and_a_half_keeps_its_half() -> None:
    assert [tick_text(value, 2.5) for value in (0, 2.5, 5)] == ["0", "2.5", "5.0"]


def test_ticks_of_small_rates_are_short() -> None:
    labels = [tick_text(2.5e-4 * number, 2.5e-4) for number in range(5)]
    assert labels == ["0", "2.5e-4", "5e-4", "7.5e-4", "1e-3"]
    assert tick_text(0.005, 0.001) == "0.005"


@pytest.mark.parametrize(
    ("low", "high", "ends"),
    [(0.1, 1.0, (0, 1.05)), (0.0, 0.0, (0, 1)), (0.9, 1.0, (0.892, 1.008)), (2.0, 2.0, (1.8, 2.2))],
)
def test_zero_is_on_the_axis_where_it_costs_little(low: float, high: float, ends: tuple[float, float]) -> None:
    assert range_of(low, high) == pytest.approx(ends)


def test_smoothing_ignores_gaps_and_does_not_lose_digits_behind_a_huge_value() -> None:
    values = np.array([1e30, *[0.1] * 50, math.nan, *[0.1] * 50])
    places = np.arange(values.size)
    assert smoothed(values, 5, places)[10:] == pytest.approx(0.1, rel=1e-12)
    assert smoothed(values, 5, places)[0] == pytest.approx(1e30 / 3)


def test_smoothing_where_nothing_is_finite_is_not_a_number() -> None:
    assert np.isnan(smoothed(np.full(20, math.nan), 5, np.arange(20))).all()


@pytest.mark.parametrize(("count", "window"), [(1, 5), (100, 5), (1000, 51), (100_000, 5001)])
def test_the_window_is_odd_and_grows_with_the_run(count: int, window: int) -> None:
    assert window_for(count, 0.05) == window


def test_thinning_keeps_both_ends() -> None:
    assert evenly(100_000)[[0, -1]].tolist() == [0, 99_999]
    assert evenly(3).tolist() == [0, 1, 2]


def test_extremes_keep_gaps() -> None:
    values = np.ones(10_000)
    values[3000] = math.nan
    assert 3000 in extremes(values)


def test_the_top_of_an_axis_follows_the_usual_values() -> None:
    assert top_of(np.array([1.0] * 99 + [100.0])) < 2
    assert top_of(np.array([1.0] * 99 + [2.0])) == 2


def test_a_lone_point_is_drawn() -> None:
    assert path(np.array([1.0, 2.0, 3.0]), np.array([math.nan, 5.0, math.nan])) == "M2.0 5.0h0"


def test_validation_has_a_chart_over_the_steps_at_which_it_was_measured() -> None:
    values = [
        Metric(step=step, loss=1.0, validation_loss=step / 10 if step % 5 == 0 else None) for step in range(1, 21)
    ]
    drawn = points(chart_named("validation-loss", values).narrow.lines[0].data)
    assert len(drawn) == 4
    assert not any(chart.key == "validation-loss" for chart in charts([Metric(step=1, loss=1.0)]))
