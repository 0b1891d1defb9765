"""The watch: who has what in hand, and what is said of a build that stands still."""

from pipeline.annotate.supervisor import BEAT, State, Supervisor, told
from pipeline.cluster.ray import Capacity
from pipeline.ledger.worker_deaths import TaskInProgress
from pipeline.planning.plan import PlannedStage
from stages.decode import DecodeStage
from stages.decode.config import DecodeConfig
from stages.stage import Resources

TASK = TaskInProgress("decode", "ab-cd", 0, ("a.wav",), "node", 42)


def stage(name, actors):
    return PlannedStage(name, DecodeStage, DecodeConfig(), (), Resources(actors=actors), "f")


def test_who_takes_the_place_of_a_dead_worker_learns_what_it_had_in_hand():
    watch = Supervisor()
    assert watch.arrive("one", "decode", "node") is None
    watch.begin("one", TASK)
    assert watch.arrive("two", "decode", "node") is None
    assert watch.arrive("one", "decode", "node") == TASK


def test_what_was_ended_is_nobodys_fault():
    watch = Supervisor()
    watch.begin("one", TASK)
    watch.end("one")
    assert watch.arrive("one", "decode", "node") is None


def test_a_worker_that_computes_moves_the_build_and_one_that_waits_does_not():
    watch = Supervisor()
    watch.begin("one", TASK)
    watch.beat("one", 5.0)
    watch.moved = 0.0
    watch.beat("one", 5.0 + 0.01 * BEAT)
    assert watch.moved == 0.0
    watch.beat("one", 5.0 + 0.5 * BEAT)
    assert watch.moved > 0.0


def test_deaths_over_models_are_counted_until_somebody_has_them():
    watch = Supervisor()
    assert [watch.died_loading("decode") for _ in range(2)] == [1, 2]
    watch.ready("decode")
    assert watch.died_loading("decode") == 1


def test_a_standstill_is_told_with_stage_and_numbers():
    state = State(600.0, ((TASK, 700.0),), (("decode", "node"), ("diarize", "lost")), None)
    asked = {"decode": Capacity(1, 0, 0.5), "diarize": Capacity(0.5, 1, 4)}
    text = told(
        state, [stage("decode", (1, 1)), stage("diarize", (2, 4))], asked, {"node": Capacity(2, 0, 8)}
    )
    assert "nothing has moved for 600 s" in text
    assert "decode (process 42) has unit ab-cd (a.wav) in hand for 700 s" in text
    assert "0 of at least 2 workers of diarize have a place: each needs 0.5 CPUs, 1 GPUs, 4 GB" in text
    assert "the nodes have 2 CPUs, 0 GPUs, 8 GB" in text
