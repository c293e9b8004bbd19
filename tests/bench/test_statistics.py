import pytest

from bench.statistics import bootstrap, estimate, paired


def test_the_interval_is_students_over_seeds() -> None:
    # By hand: mean 4, standard deviation 2, t of two degrees of freedom 4.303, 4.303 * 2 / sqrt(3) = 4.968.
    found = estimate([2, 4, 6])
    assert found.mean == pytest.approx(4)
    assert found.half == pytest.approx(4.968, abs=1e-3)
    assert str(found) == "4.0 ± 5.0"


def test_one_seed_gives_no_interval() -> None:
    with pytest.raises(ValueError, match="needs 2 values or more, not 1"):
        estimate([3])


def test_what_seeds_have_in_common_falls_out_of_a_difference() -> None:
    found = paired([11, 21, 31.5], [10, 20, 30])
    assert found.mean == pytest.approx(3.5 / 3)
    assert found.half < 1
    assert found.is_clear
    assert not paired([11, 19], [10, 20]).is_clear


def test_a_difference_needs_the_same_seeds_on_both_sides() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired([1, 2, 3], [1, 2])


def test_a_bootstrap_holds_the_mean_and_repeats_itself():
    found = bootstrap([1.0, 2.0, 3.0, 4.0, 10.0])
    assert found.mean == 4.0
    assert 1.0 <= found.low < 4.0 < found.high <= 10.0
    assert bootstrap([1.0, 2.0, 3.0, 4.0, 10.0]) == found
    assert bootstrap([5.0, 5.0]).low == bootstrap([5.0, 5.0]).high == 5.0


def test_a_bootstrap_of_one_value_is_refused():
    with pytest.raises(ValueError, match="2 values or more, not 1"):
        bootstrap([1.0])
