"""The supervisor: the tasks of the workers, and the message for a build that has stalled."""

from pipeline.annotate.supervisor import HEARTBEAT, BuildState, Supervisor, stall_message
from pipeline.cluster.ray import Capacity
from pipeline.ledger.worker_deaths import TaskInProgress
from pipeline.planning.plan import PlannedStage
from stages.decode import DecodeStage
from stages.decode.config import DecodeConfig
from stages.stage import Resources

TASK = TaskInProgress("decode", "ab-cd", 0, ("a.wav",), "node", 42)


def stage(name, actors):
    return PlannedStage(name, DecodeStage, DecodeConfig(), (), Resources(actors=actors), "f")


def test_a_worker_that_replaces_a_dead_one_learns_its_task():
    supervisor = Supervisor()
    assert supervisor.arrive("one", "decode", "node") is None
    supervisor.begin("one", TASK)
    assert supervisor.arrive("two", "decode", "node") is None
    assert supervisor.arrive("one", "decode", "node") == TASK


def test_a_finished_task_is_not_blamed():
    supervisor = Supervisor()
    supervisor.begin("one", TASK)
    supervisor.end("one")
    assert supervisor.arrive("one", "decode", "node") is None


def test_a_computing_worker_moves_the_build_and_a_waiting_one_does_not():
    supervisor = Supervisor()
    supervisor.begin("one", TASK)
    supervisor.heartbeat("one", 5.0)
    supervisor.moved = 0.0
    supervisor.heartbeat("one", 5.0 + 0.01 * HEARTBEAT)
    assert supervisor.moved == 0.0
    supervisor.heartbeat("one", 5.0 + 0.5 * HEARTBEAT)
    assert supervisor.moved > 0.0


def test_deaths_while_loading_are_counted_until_a_worker_succeeds():
    supervisor = Supervisor()
    assert [supervisor.died_loading("decode") for _ in range(2)] == [1, 2]
    supervisor.ready("decode")
    assert supervisor.died_loading("decode") == 1


def test_a_stall_is_explained_with_stage_and_numbers():
    state = BuildState(600.0, ((TASK, 700.0),), (("decode", "node"), ("diarize", "lost")), None)
    requests = {"decode": Capacity(1, 0, 0.5), "diarize": Capacity(0.5, 1, 4)}
    text = stall_message(
        state, [stage("decode", (1, 1)), stage("diarize", (2, 4))], requests, {"node": Capacity(2, 0, 8)}
    )
    assert "nothing has moved for 600 s" in text
    assert "decode (process 42) has been on unit ab-cd (a.wav) for 700 s" in text
    assert "0 of at least 2 workers of diarize could be placed: each needs 0.5 CPUs, 1 GPUs, 4 GB" in text
    assert "the nodes have 2 CPUs, 0 GPUs, 8 GB" in text
