"""Pairs of sampled answers, by ratings and by a judge behind a real server, and of real answers."""

import json
import zlib

import numpy as np
import pytest

from pipeline.config.recipe import Recipe
from pipeline.pack.preferences import contrast_pairs, sampled_pairs
from pipeline.pack.run import groups_of, pack_group, pack_pairs
from schemas.arrow import Code
from schemas.errors import DataError
from schemas.layout import read
from schemas.recording import Codes
from schemas.sample import Clip, Draft, Message, Speech, Text
from stages.preferences.judge import CRITERIA
from stages.preferences.pair import prompt_group
from tests.pipeline.annotations import planned
from tests.served import Answer, completion, serving
from tests.stages.annotated import a_turn

TEXTS = {"a": "At five.", "b": "At six, from platform two.", "c": "Sorry, what?", "d": "It leaves at six."}


def codes(groups, seed=0):
    return Codes(
        tuple(Code((7 * n + seed) % 1024) for n in range(2 * groups)),
        tuple(Code((11 * n + seed) % 4096) for n in range(3 * groups)),
    )


def codes_of(name):
    if name.startswith("gone"):
        raise DataError("unknown_audio", f"there is no recording {name}")
    return codes(5, seed=zlib.crc32(name.encode()) % 1000)


def candidates(name="p1", texts=TEXTS, **more):
    answers = [{"id": key, "text": text, "audio": f"{name}/{key}.flac"} for key, text in texts.items()]
    messages = [{"role": "user", "content": "When does the train leave?"}]
    return {"id": name, "messages": messages, "audio": f"{name}.flac", "answers": answers, **more}


def rating(answer, score, rater="anna", prompt="p1"):
    return {"prompt": prompt, "answer": answer, "rater": rater, "score": score}


def write(path, lines):
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def recipe_of(folder, rows=(), ratings=(), **preferences):
    preferences["candidates"] = [write(folder / "candidates.jsonl", rows)]
    if ratings:
        preferences["ratings"] = [write(folder / "ratings.jsonl", ratings)]
    return Recipe.model_validate({"name": "pairs", "output": str(folder / "out"), "preferences": preferences})


def sides(pair, vocabulary):
    """Text and codes of question, chosen and rejected, decoded from the ids."""
    question, chosen = read(np.concatenate([pair.prompt, pair.chosen]), vocabulary)
    _, rejected = read(np.concatenate([pair.prompt, pair.rejected]), vocabulary)
    return [(message.text, message.codes) for message in (question, chosen, rejected)]


def test_rated_answers_become_pairs_and_all_other_rows_are_set_aside(tmp_path, vocabulary):
    rows = [
        candidates("p1", language="en"),
        candidates("p2"),
        candidates("p3"),
        candidates("p1"),
        "{broken",
        candidates("gone"),
        candidates("p4", {"a": "One."}),
    ]
    ratings = [
        *(rating(key, score) for key, score in zip("abcd", (3, 5, 1, 4), strict=True)),
        *(rating(key, score, "ben") for key, score in zip("abcd", (3, 4, 1, 4), strict=True)),
        rating("x", 5),
        rating("a", 5, "anna"),
        rating("a", 9, "carl"),
        *(rating(key, 3, prompt="p2") for key in "abcd"),
    ]
    result = sampled_pairs(recipe_of(tmp_path, rows, ratings), vocabulary, codes_of)
    (pair,) = result.pairs
    assert sides(pair, vocabulary) == [
        ("", (codes_of("p1.flac"),)),
        (TEXTS["b"], (codes_of("p1/b.flac"),)),
        (TEXTS["c"], (codes_of("p1/c.flac"),)),
    ]
    assert pair.record["preference"]["margin"] == 3.5
    assert pair.record["preference"]["scores"]["b"] == {"anna": 5.0, "ben": 4.0}
    assert (pair.record["differs_in"], pair.record["language"]) == ("both", "en")
    assert result.agreement == pytest.approx(1 - 2 / 34)  # anna and ben differ by 1 about one of four answers
    assert sorted((row.recording, row.stage, row.code) for row in result.set_aside) == [
        ("candidates.jsonl:2", "preferences", "tie"),
        ("candidates.jsonl:3", "preferences", "few_ratings"),
        ("candidates.jsonl:4", "preferences", "prompt_twice"),
        ("candidates.jsonl:5", "preferences", "bad_json"),
        ("candidates.jsonl:6", "preferences", "unknown_audio"),
        ("candidates.jsonl:7", "preferences", "bad_candidates"),
        ("ratings.jsonl:10", "preferences", "rated_twice"),
        ("ratings.jsonl:11", "preferences", "bad_rating"),
        ("ratings.jsonl:9", "preferences", "unknown_answer"),
    ]


def verdict(better):
    scores = dict.fromkeys(CRITERIA, 3)
    return completion(json.dumps({"A": scores, "B": scores, "better": better}))


def judged(folder, vocabulary, answer, rows, **judge):
    with serving(answer) as server:
        settings = {"url": server.url, "model": "judge", "backoff": 0, "retries": 1} | judge
        recipe = recipe_of(folder, rows, judge=settings)
        return sampled_pairs(recipe, vocabulary, codes_of), server.seen


def test_the_judge_compares_in_both_orders_at_temperature_zero_and_its_verdicts_are_stored(
    tmp_path, vocabulary
):
    def longer(request):
        prompt = request["body"]["messages"][1]["content"]
        a, b = prompt.partition("[Answer A]\n")[2].split("\n\n[Answer B]\n")
        return verdict("A" if len(a) > len(b) else "B")

    # Another question, since the verdicts on the first may be stored already.
    another = [{"role": "user", "content": "And the one after it?"}]
    rows = [candidates("p1"), candidates("p2", messages=another)]
    result, seen = judged(tmp_path, vocabulary, longer, rows)
    assert len(seen) == 8  # two matches of four answers, two orders, two prompts
    assert all(request["body"]["temperature"] == 0 for request in seen)
    assert all(
        criterion in request["body"]["messages"][0]["content"] for request in seen for criterion in CRITERIA
    )
    assert len(result.pairs) == 4
    assert result.set_aside == []
    for pair in result.pairs:
        preference = pair.record["preference"]
        assert len(TEXTS[preference["chosen"]]) > len(TEXTS[preference["rejected"]])
        assert [json.loads(raw)["better"] for raw in preference["verdicts"]] in (["A", "B"], ["B", "A"])
        _, chosen, rejected = sides(pair, vocabulary)
        assert (chosen[0], rejected[0]) == (TEXTS[preference["chosen"]], TEXTS[preference["rejected"]])


def test_the_same_match_is_not_judged_twice(tmp_path, vocabulary):
    with serving([verdict("A"), verdict("B")]) as server:
        recipe = recipe_of(
            tmp_path, [candidates(texts={"a": "x", "b": "y"})], judge={"url": server.url, "model": "j"}
        )
        first, second = (sampled_pairs(recipe, vocabulary, codes_of) for _ in range(2))
    assert len(server.seen) == 2
    assert [pair.record for pair in first.pairs] == [pair.record for pair in second.pairs] != []


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (verdict("A"), "inconsistent"),
        (verdict("tie"), "tie"),
        (verdict("C"), "bad_verdict"),
        (completion("I prefer A."), "bad_verdict"),
        (completion('{"better": "A"}'), "bad_verdict"),
        (Answer(500), "server_error"),
        (Answer(body=b"{}"), "bad_reply"),
        (Answer(400, b'{"error": "no"}'), "refused"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_inconsistent_verdicts_make_no_pair(tmp_path, vocabulary, answer, code):
    result, _ = judged(tmp_path, vocabulary, [answer], [candidates(texts={"a": "x", "b": "y"})])
    assert result.pairs == []
    assert [(row.recording, row.code) for row in result.set_aside] == [("candidates.jsonl:1", code)]


def test_a_judge_that_does_not_answer_loses_only_that_prompt(tmp_path, vocabulary):
    def answer(request):
        words = request["body"]["messages"][1]["content"]
        slow = Answer(delay=8, body=verdict("A").body)
        return slow if "slow" in words else verdict("A" if words.index("five") < words.index("what") else "B")

    texts = {"a": "At five.", "c": "Sorry, what?"}
    slow = {"messages": [{"role": "user", "content": "Is it slow?"}]}
    rows = [candidates("p1", texts), candidates("p2", texts, **slow), candidates("p3", texts, audio=None)]
    result, _ = judged(tmp_path, vocabulary, answer, rows, timeout=3, retries=0)
    assert [(row.recording, row.code) for row in result.set_aside] == [("candidates.jsonl:2", "timeout")]
    assert [pair.record["source"]["prompt"] for pair in result.pairs] == ["p1", "p3"]


def test_the_same_pair_under_two_ids_is_one(tmp_path, vocabulary):
    rows = [candidates("p1"), candidates("p1", id="again")]
    ratings = [rating(key, score, prompt=p) for p in ("p1", "again") for key, score in (("a", 5), ("b", 1))]
    result = sampled_pairs(recipe_of(tmp_path, rows, ratings), vocabulary, codes_of)
    assert len(result.pairs) == 1
    assert [(row.recording, row.code) for row in result.set_aside] == [("candidates.jsonl:2", "duplicate")]


def test_answers_with_the_same_words_are_not_judged(tmp_path, vocabulary):
    rows = [candidates("p1", {"a": "At six.", "b": "At six."})]
    result, seen = judged(tmp_path, vocabulary, [verdict("A")], rows)
    assert (result.pairs, seen) == ([], [])
    assert [(row.recording, row.code) for row in result.set_aside] == [("candidates.jsonl:1", "tie")]


def test_the_budget_of_the_judge_is_kept(tmp_path, vocabulary):
    rows = [candidates(f"p{n}") for n in range(4)]
    result, seen = judged(tmp_path, vocabulary, [verdict("A")], rows, budget={"requests": 5}, parallel=1)
    assert len(seen) == 5
    assert {row.code for row in result.set_aside} == {"inconsistent", "budget"}


def test_audio_files_of_candidates_are_annotated_for_pairs_only(tmp_path, vocabulary):
    rows = [candidates("p1"), candidates("p2", {"a": "Yes.", "b": "No."}), candidates("p3")]
    audio = ["p1.flac", "p2.flac", *(f"p1/{key}.flac" for key in TEXTS), "p2/a.flac", "p2/b.flac"]
    folder = tmp_path / "sampled"
    for name in audio:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    write(folder / "candidates.jsonl", [*rows, "{broken", {"audio": 7, "answers": 8}])
    write(folder / "ratings.jsonl", [rating("b", 5), rating("c", 1)])
    turns = {
        name: [a_turn(0.2 * n, 0.2 * n + 2, "A", "well", 0, recording=name, groups=9 + n)]
        for n, name in enumerate(["call.wav", *audio])
    }
    turns["p2/b.flac"] = []  # no speech
    preferences = {"candidates": ["sampled/candidates.jsonl"], "ratings": ["sampled/ratings.jsonl"]}
    plan = planned(
        tmp_path, turns, preferences=preferences, inputs=["in/call.wav"], compose={"families": ["asr"]}
    )
    assert plan.pair_only == set(audio)
    assert [root.recordings for root in plan.listing.roots] == [1, 8]
    done = [pack_group(group, plan.recipe, plan.dataset, "x") for group in groups_of(plan)]
    pairs = pack_pairs(plan)
    assert (done[0].samples, pairs.samples) == ({"asr": 1}, {"preference": 1})
    assert (done[0].recordings, pairs.recordings) == ({"kept": 1}, {"kept": 7, "set_aside": 1})
    assert pairs.turns == {"used": 3, "eligible": 4}
    assert pairs.set_aside == {
        "preferences/bad_chat": 1,
        "preferences/bad_json": 1,
        "preferences/no_codes": 1,
        "preferences/unknown_audio": 1,
        "select/no_turn_kept": 1,
    }


def drafts(count=12):
    made = []
    for n in range(count):
        clip = Clip(f"calls/{n}.wav", 0, 0.0, 2.0)
        question, reply = (
            Speech(codes(12, seed=s), clip, t, "AB"[t], None) for t, s in ((0, n), (1, 99 + n))
        )
        text = Text(f"We will be there at {n} in the evening, I hope.")
        messages = (
            Message("human", (question,)),
            Message("assistant", (text, reply), interleaved=True),
        )
        source = {"recording": clip.recording, "start": 0.0, "end": 4.0}
        record = {"speakers": ["A", "B"], "language": ("en", "de")[n % 2], "source": source}
        made.append(Draft(f"{n:016x}-00001-aqtaa", "aqtaa", messages, record))
    return made


def test_real_answers_against_their_contrasts(vocabulary):
    shares = dict.fromkeys(("deaf", "other", "mismatch", "truncated", "language"), 1.0)
    recipe = Recipe.model_validate({"name": "x", "preferences": {"contrast": shares}})
    made = drafts()
    pairs, reasons = contrast_pairs(made, recipe, vocabulary)
    assert not reasons
    stems = (draft.key.removesuffix("aqtaa") for draft in made)
    assert {pair.key for pair in pairs} == {f"{stem}{kind}" for stem in stems for kind in shares}
    texts = {draft.messages[-1].content[0].text for draft in made}
    kinds = {}
    for pair in pairs:
        (_, heard), (chosen, _), (rejected, spoken) = sides(pair, vocabulary)
        assert len(heard) == 1
        assert chosen in texts
        kinds.setdefault(pair.record["preference"]["kind"], set()).add(pair.record["differs_in"])
        if pair.record["preference"]["kind"] == "deaf":
            assert spoken == ()
        assert rejected
    assert kinds.pop("mismatch") == {"text", "audio"}
    assert set(map(frozenset, kinds.values())) == {frozenset({"both"})}
    assert len({prompt_group(pair, vocabulary) for pair in pairs}) == len(made)


def test_without_shares_there_is_no_contrast(vocabulary):
    recipe = Recipe.model_validate({"name": "x"})
    assert contrast_pairs(drafts(), recipe, vocabulary) == ([], {})
