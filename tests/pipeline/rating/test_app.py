"""Raters on a real server: blind, shuffled, each with a token; what they say is kept."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.rating.session import LONGEST_REASON
from pipeline.serving.page import MAX_CONNECTIONS
from stages.preferences.ratings import Ratings, read_rating
from tests.pipeline.rating.rows import OVERVIEW, answer, rating_page, row, token_of, write_rows, write_tone


@pytest.fixture
def rows(tmp_path):
    tones = {id: write_tone(tmp_path / f"{id}.wav", hertz) for id, hertz in (("one", 300), ("two", 500))}
    question = write_tone(tmp_path / "question.wav", 200)
    prompts = [
        row(f"p{n}", *(answer(id, audio=tone) for id, tone in tones.items()), audio=question)
        for n in range(10)
    ]
    return write_rows(tmp_path / "c.jsonl", prompts)


@pytest.fixture
def page(rows, tmp_path):
    with rating_page(rows, tmp_path / "r.jsonl", "anna", "ben") as running:
        yield running


@pytest.fixture
def choosing(rows, tmp_path):
    with rating_page(rows, tmp_path / "r.jsonl", "anna", "ben", choose=True) as running:
        yield running


def written(tmp_path):
    return [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]


def by_rater(page, rater):
    """Question -> texts of its answers as a rater sees them, in the rater's order."""
    shown = [page.get(f"/api/tasks/{id}", rater) for id in page.get("/api/state", rater)["tasks"]]
    return {task["messages"][0]["text"]: [one["text"] for one in task["answers"]] for task in shown}


def test_a_rater_sees_question_and_answer_and_nothing_that_names_them(page):
    state = page.get("/api/state")
    assert (state["rater"], state["mode"], len(state["tasks"]), state["done"]) == ("anna", "score", 20, [])
    status, content, headers = page.ask("GET", f"/api/tasks/{state['tasks'][0]}", token_of("anna"))
    assert status == 200
    shown = json.loads(content)
    assert re.fullmatch(r"What of p\d\?", shown["messages"][0]["text"])
    assert (shown["question"], shown["rating"], len(shown["answers"])) == (True, None, 1)
    assert not re.search(rb"one\.wav|two\.wav|seed|\"id\"", content)
    status, audio, headers = page.ask("GET", f"/api/tasks/{state['tasks'][0]}/audio/0", token_of("anna"))
    assert (status, audio[:4], headers["content-type"]) == (200, b"RIFF", "audio/wav")
    assert not re.search("one|two", str(headers))


def test_the_order_is_each_raters_own_and_the_same_after_a_restart(rows, tmp_path):
    orders = []
    for _ in range(2):
        with rating_page(rows, tmp_path / "r.jsonl", "anna", "ben", choose=True) as page:
            orders.append((by_rater(page, "anna"), by_rater(page, "ben"), page.get("/api/state")["tasks"]))
    assert orders[0] == orders[1]
    anna, ben, ids = orders[0]
    assert {answers[0] for answers in anna.values()} == {"Text of one.", "Text of two."}
    assert anna != ben
    assert list(anna) != list(ben)
    assert sorted(anna) == sorted(ben) != list(anna)
    # A prompt that is added later moves no other.
    rows.write_text(rows.read_text() + json.dumps(row("new", answer("a"), answer("b"))) + "\n")
    with rating_page(rows, tmp_path / "r.jsonl", "anna", choose=True) as page:
        later = page.get("/api/state")["tasks"]
    assert len(later) == 11
    assert [id for id in later if id in ids] == ids


def test_scores_are_written_as_preferences_read_them(page, tmp_path):
    first, second, *_ = page.get("/api/state")["tasks"]
    assert page.put(first, score=4, reason=" Clear. ")["done"] == [first]
    assert page.put(second, score=2)["done"] == [first, second]
    assert page.get(f"/api/tasks/{first}")["rating"] == {"score": 4, "choice": None, "reason": "Clear."}
    assert page.get("/api/state", "ben")["done"] == []
    one, two = written(tmp_path)
    assert (one["rater"], one["score"], one["reason"]) == ("anna", 4, "Clear.")
    assert read_rating(one).score == 4
    assert two.keys() == {"prompt", "answer", "score", "rater", "at"}


def test_a_changed_rating_replaces_the_earlier_one_also_from_another_tab(page, tmp_path):
    (task, *_) = page.get("/api/state")["tasks"]
    for score in (5, 1, 3):
        page.put(task, score=score)
    assert page.get(f"/api/tasks/{task}")["rating"]["score"] == 3
    ratings = Ratings()
    for line in written(tmp_path):
        ratings.add(read_rating(line))
    (scores,) = ratings.scores(written(tmp_path)[0]["prompt"]).values()
    assert (len(written(tmp_path)), scores) == (3, {"anna": 3.0})
    assert page.overview()["raters"][0]["rated"] == 1


def test_choices_name_the_answer_whichever_side_it_was_on(choosing, tmp_path):
    """Both raters always prefer `two`, seen first or second."""
    for rater in ("anna", "ben"):
        for id in choosing.get("/api/state", rater)["tasks"]:
            texts = [shown["text"] for shown in choosing.get(f"/api/tasks/{id}", rater)["answers"]]
            side = ("first", "second")[texts.index("Text of two.")]
            choosing.put(id, rater, choice=side)
            assert choosing.get(f"/api/tasks/{id}", rater)["rating"]["choice"] == side
    assert {row["choice"] for row in written(tmp_path)} == {"two"}
    assert {tuple(row["answers"]) for row in written(tmp_path)} == {("one", "two")}
    choosing.put(id, "ben", choice="neither")
    assert written(tmp_path)[-1]["choice"] is None
    assert choosing.overview()["metric"] == "nominal"


def test_a_stopped_session_goes_on_where_it_was(rows, tmp_path):
    with rating_page(rows, tmp_path / "r.jsonl", "anna") as page:
        tasks = page.get("/api/state")["tasks"]
        page.put(tasks[0], score=5)
        page.put(tasks[3], score=1, reason="hissing")
    with (tmp_path / "r.jsonl").open("a") as file:
        file.write('{"prompt": "p1", "answer": "o')  # the power fails
    with rating_page(rows, tmp_path / "r.jsonl", "anna") as page:
        assert page.get("/api/state")["done"] == [tasks[0], tasks[3]]
        assert page.get(f"/api/tasks/{tasks[3]}")["rating"]["reason"] == "hissing"
        page.put(tasks[1], score=2)
    assert [row["score"] for row in written(tmp_path)] == [5, 1, 2]


def test_rows_that_are_no_ratings_are_told_and_kept(rows, tmp_path):
    (tmp_path / "r.jsonl").write_text('{"score": 3}\nbroken\n')
    with rating_page(rows, tmp_path / "r.jsonl", "anna") as page:
        told = [(one.where, one.error.code) for one in page.session.unused]
        page.put(page.get("/api/state")["tasks"][0], score=5)
    assert told == [("r.jsonl:1", "bad_rating"), ("r.jsonl:2", "bad_json")]
    assert (tmp_path / "r.jsonl").read_text().startswith('{"score": 3}\nbroken\n')


def test_nothing_is_told_without_a_token_that_is_right(page, caplog):
    task = page.get("/api/state")["tasks"][0]
    paths = "/api/state", f"/api/tasks/{task}", f"/api/tasks/{task}/audio/0"
    for token in (None, "", "wrong", token_of("anna")[:-1], token_of("carl")):
        for path in paths:
            status, content, _ = page.ask("GET", path, token)
            assert (status, json.loads(content)) == (
                401,
                {"error": "this link is not valid: ask for a new one"},
            )
        assert page.ask("PUT", paths[1], token, {"score": 3})[0] == 401
    # Those of the overview see figures, not tasks; raters see no figures.
    assert page.ask("GET", paths[1], OVERVIEW)[0] == 401
    assert "raters" not in page.get("/api/state")
    # Another rater's ids are no tasks.
    assert page.ask("GET", paths[1], token_of("ben"))[0] == 404
    assert page.ask("GET", "/docs", token_of("anna"))[0] == 404
    assert "secret" not in caplog.text


@pytest.mark.parametrize("part", ["2", "answer", "..%2f..%2fc.jsonl", "../../../../etc/passwd", "0%00", "-1"])
def test_no_path_leads_to_another_file(page, part):
    task = page.get("/api/state")["tasks"][0]
    status, content, _ = page.ask("GET", f"/api/tasks/{task}/audio/{part}", token_of("anna"))
    assert status == 404
    assert b"root:" not in content
    assert b"messages" not in content


def test_audio_that_became_a_link_or_vanished_is_not_served(page, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    write_tone(tmp_path / "elsewhere" / "secret.wav", 900)
    task = page.get("/api/state")["tasks"][0]
    path = f"/api/tasks/{task}/audio/question"
    (tmp_path / "question.wav").unlink()
    assert page.ask("GET", path, token_of("anna"))[0] == 404
    (tmp_path / "question.wav").symlink_to(tmp_path / "elsewhere" / "secret.wav")
    status, content, _ = page.ask("GET", path, token_of("anna"))
    assert (status, json.loads(content)["error"]) == (404, "the audio is not there any more")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 422, "Invalid JSON"),
        (b"[]", 422, "the rating: Input should be an object"),
        ({}, 422, "takes a `score`, from 1 to 5"),
        ({"score": 0}, 422, "score: Input should be greater than or equal to 1"),
        ({"score": 6}, 422, "score: Input should be less"),
        ({"score": 2.5}, 422, "score"),
        ({"score": "4"}, 422, "score"),
        ({"score": True}, 422, "score"),
        ({"choice": "first"}, 422, "takes a `score`"),
        ({"score": 3, "choice": "first"}, 422, "takes a `score`"),
        ({"score": 3, "rater": "ben"}, 422, "rater: Extra inputs"),
        ({"score": 3, "reason": "x" * (LONGEST_REASON + 1)}, 422, "reason: String should have at most"),
        (b"x" * 1_000_000, 413, "too long"),
    ],
)
def test_a_rating_of_another_form_is_refused_in_words(page, tmp_path, body, status, says):
    task = page.get("/api/state")["tasks"][0]
    found, content, _ = page.ask("PUT", f"/api/tasks/{task}", token_of("anna"), body)
    assert found == status
    assert says in json.loads(content)["error"]
    assert written(tmp_path) == []


def test_a_score_is_no_choice(choosing):
    task = choosing.get("/api/state")["tasks"][0]
    status, content, _ = choosing.ask("PUT", f"/api/tasks/{task}", token_of("anna"), {"score": 3})
    assert (status, json.loads(content)["error"]) == (
        422,
        "this task takes a `choice`, first, second or neither",
    )


def test_a_full_disk_is_told_to_the_rater_and_nothing_counts_as_done(page, tmp_path, monkeypatch):
    task = page.get("/api/state")["tasks"][0]
    with monkeypatch.context() as patched:

        def full(handle):
            raise OSError(28, "No space left on device")

        patched.setattr("pipeline.storage.saved_rows.os.fsync", full)
        status, content, _ = page.ask("PUT", f"/api/tasks/{task}", token_of("anna"), {"score": 3})
    assert (status, written(tmp_path)) == (507, [])
    assert "could not be saved" in json.loads(content)["error"]
    assert page.get("/api/state")["done"] == []
    assert page.put(task, score=3)["done"] == [task]


def test_raters_at_the_same_time_lose_nothing(page, tmp_path):
    def rate(rater):
        for id in page.get("/api/state", rater)["tasks"]:
            page.put(id, rater, score=3)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(rate, ("anna", "ben", "anna", "ben")))
    assert len(written(tmp_path)) == 80 < MAX_CONNECTIONS * 2
    assert [own["rated"] for own in page.overview()["raters"]] == [20, 20]


def test_the_overview_shows_gold_questions_and_agreement(tmp_path):
    rows = [
        row("gold", answer("a", gold=5), answer("b", gold=1)),
        row("p1", answer("a"), answer("b"), answer("c")),
    ]
    file = write_rows(tmp_path / "c.jsonl", rows)
    said = {"Text of a.": 5, "Text of b.": 1, "Text of c.": 3}
    with rating_page(file, tmp_path / "r.jsonl", "anna", "ben") as page:
        assert page.overview() | {"raters": []} == {
            **{"mode": "overview", "tasks": 5, "raters": [], "agreement": None, "metric": "ordinal"},
            "rated_by_several": 0,
        }
        for rater in ("anna", "ben"):
            for id in page.get("/api/state", rater)["tasks"]:
                shown = page.get(f"/api/tasks/{id}", rater)
                careless = rater == "ben" and "gold" in shown["messages"][0]["text"]
                page.put(id, rater, score=5 if careless else said[shown["answers"][0]["text"]])
        overview = page.overview()
    # Careless answers to gold questions change nothing in the agreement.
    assert (overview["agreement"], overview["rated_by_several"]) == (1.0, 3)
    assert overview["raters"] == [
        {"rater": "anna", "rated": 5, "gold": 2, "gold_right": 2},
        {"rater": "ben", "rated": 5, "gold": 2, "gold_right": 1},
    ]
