"""The time that a phase may take for its next piece of work."""

from forge.budgets import CEILING, FIRST_USE, SECONDS, Budgets


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


def test_on_a_machine_that_knows_the_pace_the_first_piece_has_no_longer():
    budgets = Budgets()
    budgets.took("decode", 0.01, 200)
    assert budgets.seconds("decode") == SECONDS["decode"]


def test_a_slow_pace_is_given_time_in_proportion():
    budgets = Budgets(weights=4_000_000_000)
    for _ in range(100):
        budgets.took("decode", 1.5)
    assert 8 * 1.5 <= budgets.seconds("decode") <= 20 * 1.5
    budgets.took("decode", 500.0, 1000)
    assert budgets.seconds("decode") == CEILING


def test_a_prompt_of_more_tokens_a_chunk_may_take_longer():
    budgets = Budgets(weights=1_000_000_000)
    budgets.chunk(64)
    budgets.took("prefill", 5.0, 200)
    assert 40 <= budgets.seconds("prefill") <= 60
    budgets.chunk(512)
    assert budgets.seconds("prefill") >= 8 * 40


def test_before_its_pace_is_known_a_large_model_may_come_from_a_slow_disk():
    assert Budgets(weights=40_000_000_000).seconds("decode") >= 400
    assert Budgets(weights=100_000_000).seconds("decode") == SECONDS["decode"] * FIRST_USE
