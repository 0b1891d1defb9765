"""`aqaa-data evaluate answers`, with models and a judge behind real sockets, and real ears."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.pipeline.evaluation.answers.speaking import speaking, spoken
from tests.served import Answer, completion, serving

VERDICT = {
    **{"chat": 4, "relevance": "yes", "factuality": "yes", "instruction_following": "yes"},
    **{"naturalness": 5, "safety": "yes", "reason": "So it is."},
}
SUM = {
    "id": "sum",
    "dimension": "logical_reasoning",
    "turns": [{"text": "What is two plus three?"}, {"text": "And minus one?"}],
    "checks": [{"kind": "number", "value": 5, "turn": 1}, {"kind": "number", "value": 4}],
}
TOWN = {
    "id": "town",
    "dimension": "voice_understanding",
    "turns": [{"text": "I live in Lisbon. Where do I live?"}],
    "checks": [{"kind": "contains", "any": ["Lisbon", "five"]}],
}
LOST = TOWN | {"id": "lost", "turns": [{"audio": "nowhere.wav"}]}


def write_benchmark(folder, *rows):
    file = folder / "bench.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows) + "{broken\n")
    return file


def biased_judge(request):
    """Gives the same grades to all, prefers what it is shown first, and speaks prose of one answer."""
    shown = str(request["body"]["messages"])
    if "You compare" in shown:
        return completion(json.dumps({"better": "A", "reason": "The first."}))
    return completion("It is nice." if "Lisbon" in shown and "know" in shown else json.dumps(VERDICT))


def write_ratings(out, *ratings):
    rows = [{"prompt": "sum", "answer": model, "rater": rater, "score": n} for model, rater, n in ratings]
    (out / "ratings.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """An evaluation of a model that knows, one that doesn't and one whose server fails, and its folder."""
    folder = tmp_path_factory.mktemp("answers")
    bench = write_benchmark(folder, SUM, TOWN, LOST)
    out = folder / "out"
    with ExitStack() as stack:
        right = stack.enter_context(serving(speaking("The answer is five.", "Then it is four.")))
        wrong = stack.enter_context(serving(speaking("I don't know.", "")))
        down = stack.enter_context(serving([Answer(400, b'{"error": {"message": "out of order"}}')]))
        judge = stack.enter_context(serving(biased_judge))
        named = [
            f"--model={server.url}#{name}"
            for server, name in ((right, "right"), (wrong, "wrong"), (down, "down"))
        ]
        arguments = ["--benchmark", bench, *named, "--judge", f"{judge.url}#j", "--out", out, "--json"]
        command = [Path(sys.executable).with_name("aqaa-data"), "evaluate", "answers", *arguments]
        runs = []
        for _ in range(2):
            runs.append(subprocess.run(command, capture_output=True, text=True))
            requests = [len(server.seen) for server in (right, wrong, down, judge)]
            runs[-1].requests = requests
            write_ratings(out, ("right", "ann", 4), ("right", "bob", 5))
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr + runs[1].stderr
    return json.loads(runs[0].stdout), out, runs


def test_rules_and_judge_score_every_answer(evaluated):
    results, _, _ = evaluated
    assert list(results["models"]) == ["right", "wrong", "down"]
    right, wrong, _ = results["models"].values()
    assert right["overall"]["rules"]["value"] == 1
    assert wrong["overall"]["rules"]["value"] == 0
    assert right["dimensions"]["logical_reasoning"]["chat"]["value"] == 4
    assert right["overall"]["rules"].keys() == {"value", "low", "high", "utterances"}


def test_rows_that_cannot_be_used_or_asked_are_told(evaluated):
    results, _, _ = evaluated
    assert results["benchmark"]["not_asked"] == {"lost": "`turns.0.audio`: no such file: nowhere.wav"}
    [refused] = results["benchmark"]["refused"]
    assert refused.startswith("bench.jsonl:4: the line is not valid JSON")


def test_a_model_that_answers_with_nothing_in_the_end_gets_the_lowest_grades(evaluated):
    results, _, _ = evaluated
    _, wrong, _ = results["models"].values()
    assert wrong["dimensions"]["logical_reasoning"]["chat"]["value"] == 1


def test_a_model_that_fails_is_counted_and_not_scored(evaluated):
    results, _, _ = evaluated
    _, _, down = results["models"].values()
    assert down["answered"] == 0
    assert set(down["failed"]) == {"sum", "town"}
    assert down["failed"]["sum"]["code"] == "refused"
    assert "out of order" in down["failed"]["sum"]["message"]
    assert down["overall"]["rules"] is None


def test_a_judge_that_gives_no_verdict_is_counted_and_not_scored(evaluated):
    results, _, _ = evaluated
    failed = results["judge"]["failed"]
    assert failed["by_code"] == {"bad_verdict": 1}
    assert "town: the judge's reply is no verdict" in failed["messages"][0]
    _, wrong, _ = results["models"].values()
    assert wrong["dimensions"]["voice_understanding"]["chat"] is None


def test_a_biased_judge_is_found_by_the_swapped_order(evaluated):
    results, _, _ = evaluated
    rules, judged = results["comparisons"]
    assert (rules["by"], rules["win_rate"]["value"], rules["wins"]) == ("rules", 1.0, 2)
    # The row with an answer of nothing is decided without the judge.
    assert (judged["by"], judged["wins"], judged["ties"], judged["contradictions"]) == ("judge", 1, 1, 1)


def test_what_is_heard_is_measured(evaluated):
    results, out, _ = evaluated
    right = next(iter(results["models"].values()))
    assert right["measures"]["word_errors"]["value"] < 0.2
    assert right["measures"]["dnsmos"]["value"] > 2.5
    assert right["measures"]["voice_likeness"]["value"] > 0.6
    assert right["measures"]["right_language"]["value"] == 1
    assert right["measures"]["first_sound"]["value"] >= 0
    [row] = [
        each
        for each in json.loads((out / "results.json").read_text())["answers"]
        if each["row"] == "sum" and each["model"].endswith("right")
    ]
    assert row["turns"][0]["written"] == "The answer is five."
    assert "five" in row["turns"][0]["heard"].lower() or "5" in row["turns"][0]["heard"]
    assert (out / row["turns"][0]["audio"]).read_bytes()[:4] == b"RIFF"


def test_the_second_run_asks_only_what_failed(evaluated):
    _, _, (first, second) = evaluated
    before, after = first.requests, second.requests
    assert after[:2] == before[:2]
    assert after[2] > before[2]
    assert after[3] == before[3]
    assert json.loads(second.stdout)["comparisons"] == json.loads(first.stdout)["comparisons"]


def test_the_report_has_scores_win_rates_and_players(evaluated):
    _, out, _ = evaluated
    page = (out / "report.html").read_text()
    assert "<h2>Win rates</h2>" in page
    assert "<h2>The worst answers</h2>" in page
    assert page.count("<audio") >= 3
    assert "http://127" in page
    assert not re.search(r"(src|href)=\"http", page)


def test_ratings_by_people_count_in_the_next_run(evaluated):
    results, _, runs = evaluated
    assert "people" not in results["models"]["right"]["overall"]
    right, wrong, _ = json.loads(runs[1].stdout)["models"].values()
    assert right["overall"]["people"]["value"] == 4.5
    assert wrong["overall"]["people"] is None


def test_people_may_rate_the_last_answers_of_all_models(evaluated):
    _, out, _ = evaluated
    lines = [json.loads(line) for line in (out / "candidates.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["sum", "town"]
    right = lines[0]["answers"][0]
    assert right["text"] == "Then it is four."
    assert (out / right["audio"]).exists()
    assert (out / lines[0]["audio"]).exists()


def test_other_settings_need_another_folder(evaluated, command, tmp_path):
    _, out, _ = evaluated
    bench = write_benchmark(tmp_path, TOWN)
    done = command(
        "evaluate", "answers", "--benchmark", bench, "--model", "http://127.0.0.1:9/v1#x", "--out", out
    )
    assert done.code == 1
    assert "holds an evaluation with another benchmark_version" in done.stderr


def test_a_place_that_is_no_model_is_refused(command, tmp_path):
    bench = write_benchmark(tmp_path, TOWN)
    done = command(
        "evaluate", "answers", "--benchmark", bench, "--model", tmp_path / "x", "--out", tmp_path / "o"
    )
    assert done.code == 1
    assert "is not a model: it has no config.json. Name the folder of a checkpoint" in done.stderr
    done = command("evaluate", "answers", "--benchmark", bench, "--model", tmp_path, "--judge", "me")
    assert done.code == 2
    assert "neither `rules` nor an address" in done.stderr


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    bench = write_benchmark(tmp_path, TOWN, TOWN | {"id": "second"}, TOWN | {"id": "third"})
    running = []

    def answer(request):
        if running and len(server.seen) == 2:
            os.kill(running.pop().pid, signal.SIGKILL)
        return spoken("You live in Lisbon.")

    with serving(answer) as server:
        command = [Path(sys.executable).with_name("aqaa-data"), "evaluate", "answers", "--json"]
        command += ["--benchmark", bench, "--model", f"{server.url}#m", "--out", tmp_path / "out"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        running.append(process)
        assert process.wait() == -signal.SIGKILL
        kept = sorted(file.name for file in (tmp_path / "out" / "answers").rglob("*.json"))
        assert kept == ["town.json"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    [model] = json.loads(done.stdout)["models"].values()
    assert (model["answered"], model["overall"]["rules"]["value"]) == (3, 1)
    assert len(server.seen) == 4
