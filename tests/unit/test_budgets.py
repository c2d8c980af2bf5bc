"""The time that a phase may take for its next piece of work."""

from forge.budgets import FIRST_USE, SECONDS, Budgets


def test_the_first_piece_of_a_phase_has_longer():
    budgets = Budgets()
    assert budgets.seconds("decode") == SECONDS["decode"] * FIRST_USE
    budgets.beat("decode")
    assert budgets.seconds("decode") == SECONDS["decode"]
    assert budgets.seconds("prefill") == SECONDS["prefill"] * FIRST_USE


def test_patience_scales_every_phase():
    patient, hasty = Budgets(10), Budgets(0.1)
    for phase in SECONDS:
        assert patient.seconds(phase) > 50 * hasty.seconds(phase)


def test_a_phase_that_nobody_named_has_the_longest_budget():
    assert Budgets().seconds("autotune") == Budgets().seconds("compile")
