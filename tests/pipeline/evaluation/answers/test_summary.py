"""Scores with intervals over prompts, and win rates."""

from pipeline.evaluation.answers.ears import SILENCE
from pipeline.evaluation.answers.judge import EMPTY, PairVerdict
from pipeline.evaluation.answers.kept import KeptRow, KeptTurn
from pipeline.evaluation.answers.rules import CheckResult
from pipeline.evaluation.answers.summary import RowOutcome, comparisons, summed, worst
from schemas.benchmark import parse_row
from schemas.errors import DataError


def outcome(model, row, score, verdict=None, failed=None, kind="number"):
    parsed = parse_row({"id": row, "dimension": "d", "turns": [{"text": "?"}]}, "x")
    kept = KeptRow(row, () if failed else (KeptTurn("Hi.", None, (), None, {}, SILENCE),), failed)
    checks = (CheckResult(kind, 1, score, score, "why"),)
    return RowOutcome(model, parsed, kept, checks, {"total": 2.0}, verdict)


def test_a_mean_comes_with_its_interval_and_number_of_rows():
    estimate = summed([outcome("a", str(n), float(n % 2)) for n in range(40)], "rules")
    assert (estimate.value, estimate.utterances) == (0.5, 40)
    assert 0.3 < estimate.low < 0.5 < estimate.high < 0.7


def test_rows_that_failed_or_were_not_judged_are_in_no_mean():
    outcomes = [outcome("a", "1", 1.0), outcome("a", "2", 0.0, failed=("timeout", "late"))]
    assert summed(outcomes, "rules").value == 1
    assert summed(outcomes, "chat") is None
    assert summed([outcome("a", "1", 1.0, verdict=EMPTY)], "chat").value == 1
    assert summed(outcomes, "total").value == 2


def test_changes_of_the_voice_are_a_score_of_their_own():
    assert summed([outcome("a", "1", 1.0), outcome("a", "2", 0.0, kind="voice")], "obeyed").value == 0
    assert summed([outcome("a", "1", 1.0)], "obeyed") is None


def test_win_rates_count_a_tie_as_half_on_the_rows_of_both():
    a = [outcome("a", str(n), score) for n, score in enumerate((1.0, 1.0, 0.5, 1.0))]
    b = [outcome("b", str(n), score) for n, score in enumerate((0.0, 1.0, 1.0))]
    [found] = comparisons(["a", "b"], [*a, *b], {}, seed=0)
    assert (found.by, found.wins, found.ties, found.losses) == ("rules", 1, 1, 1)
    assert found.win_rate.value == 0.5
    assert found.win_rate.low < 0.5 < found.win_rate.high


def test_contradictions_of_the_judge_are_ties_and_counted_and_errors_are_left_out():
    verdicts = {
        ("a", "b"): {
            "1": PairVerdict("A", False, ()),
            "2": PairVerdict("tie", True, ()),
            "3": DataError("timeout", "late"),
        }
    }
    [found] = comparisons(["a", "b"], [], verdicts, seed=0)
    assert (found.by, found.wins, found.ties, found.losses, found.contradictions) == ("judge", 1, 1, 0, 1)
    assert found.win_rate.value == 0.75


def test_the_worst_come_first_and_the_perfect_not_at_all():
    outcomes = [outcome("a", str(n), n / 4) for n in range(5)]
    assert [each.row.id for each in worst(outcomes, 3)] == ["0", "1", "2"]
    assert worst(outcomes[4:]) == []
