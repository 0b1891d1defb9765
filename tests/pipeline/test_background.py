import threading
import time

from pipeline.background import BackgroundLoop

SECONDS = 0.01
PATIENCE = 5.0


def test_an_action_repeats_until_the_context_ends():
    done = threading.Semaphore(0)
    rounds = []

    def action() -> None:
        rounds.append(time.monotonic())
        done.release()

    with BackgroundLoop(action, SECONDS):
        for _ in range(3):
            assert done.acquire(timeout=PATIENCE)
    count = len(rounds)
    time.sleep(5 * SECONDS)
    assert len(rounds) == count >= 3


def test_a_round_that_fails_does_not_end_the_loop():
    done = threading.Semaphore(0)

    def action() -> None:
        done.release()
        raise OSError("the store can't be reached")

    with BackgroundLoop(action, SECONDS):
        for _ in range(3):
            assert done.acquire(timeout=PATIENCE)


def test_a_final_round_runs_after_the_loop_has_ended():
    threads = []
    with BackgroundLoop(lambda: threads.append(threading.current_thread()), 1000.0, final_round=True):
        assert threads == []
    assert threads == [threading.main_thread()]


def test_stop_waits_for_a_round_in_progress_no_longer_than_its_patience():
    begun, release = threading.Event(), threading.Event()

    def action() -> None:
        begun.set()
        release.wait(PATIENCE)

    loop = BackgroundLoop(action, SECONDS, patience=0.05)
    loop.start()
    assert begun.wait(PATIENCE)
    assert not loop.stopped
    since = time.monotonic()
    loop.stop()
    assert time.monotonic() - since < 1.0
    assert loop.stopped
    release.set()
