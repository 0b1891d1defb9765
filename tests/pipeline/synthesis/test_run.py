"""Text conversations become recordings that are annotated like any other."""

import io
import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
import soundfile

import stages.synthesize.asking
from pipeline.config.recipe import Recipe, UnitsConfig, load
from pipeline.inputs.listing import ListedRecording
from pipeline.inputs.spooled_audio import SpooledAudio
from pipeline.models import resolve
from pipeline.planning.plan import make_plan
from pipeline.synthesis.run import Synthesis, _fingerprint, synthesize
from pipeline.synthesis.speech_models import speech_models
from schemas.errors import SetupError
from schemas.recording import Recording, Unit
from schemas.turn import turns_of
from stages.compose.labels import LabelsConfig, heard_labels, outcomes
from stages.decode import DecodeStage
from stages.decode.config import DecodeConfig
from stages.diarize import DiarizeStage
from stages.diarize.config import DiarizeConfig
from stages.quality.config import QualityConfig
from stages.quality.stage import QualityStage
from stages.synthesize.checks import check, error_rate, letters
from stages.synthesize.speech import Piper
from stages.synthesize.styles import STYLES, StyleConfig, split
from stages.transcribe import TranscribeConfig, TranscribeStage
from tests.paths import DEMO
from tests.served import Answer, completion, serving

JOE = "package:piper-joe"
QUESTION = "Could you tell me which platform the train to Edinburgh departs from?"
ANSWER = "The train to Edinburgh goes from platform seven, behind the ticket office."


def talk(*texts, **fields):
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[n % 2], "content": t} for n, t in enumerate(texts)], **fields}


def write(path, *lines):
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def recipe_of(folder, *rows, **settings) -> Recipe:
    chats = write(folder / "chats.jsonl", *rows)
    section = {"conversations": [chats], **settings}
    return Recipe.model_validate({"name": "spoken", "output": str(folder / "out"), "synthesize": section})


def silent(_line: str) -> None:
    pass


def run(recipe: Recipe, progress: Callable[[str], None] = silent) -> Synthesis:
    found = synthesize(recipe, progress)
    assert found is not None
    return found


def annotated(source: SpooledAudio, listed: ListedRecording) -> Recording:
    """The recording as decode, diarize and transcribe leave it, with their own settings."""
    unit = Unit("u", (listed.recording(source.text(listed.sidecar.uri)),))
    for stage, config in (
        (DecodeStage, DecodeConfig()),
        (DiarizeStage, DiarizeConfig()),
        (TranscribeStage, TranscribeConfig(model="package:whisper-tiny-en")),
    ):
        ready = stage(config, source, {name: resolve(name).path for name in config.models})
        ready.setup()
        unit = ready(unit)
    return unit.recordings[0]


def test_question_and_answer_are_spoken_and_transcribed_as_written(tmp_path):
    recipe = recipe_of(tmp_path, talk("Hi.", "Hello!", QUESTION, ANSWER, licence="CC0-1.0", source="a book"))
    (listed,) = run(recipe).recordings
    recording = annotated(SpooledAudio(tmp_path / "audio", DecodeConfig(), "test"), listed)
    assert recording.problems == ()
    question, answer = turns_of(recording)
    assert [turn.turn.speaker for turn in (question, answer)] == ["human", "assistant"]
    assert [turn.turn.text for turn in (question, answer)] == [QUESTION, ANSWER]
    assert question.transcript.source == "model"
    assert error_rate(QUESTION, question.transcript.text) < 0.15
    assert error_rate(ANSWER, answer.transcript.text) < 0.15
    checks = recipe.synthesize.checks
    assert [check(turn, checks) for turn in (question, answer)] == [None, None]
    said = question.metadata
    assert (said["synthetic"], said["licence"]) == (True, "CC0-1.0")
    assert "source" not in said  # which would tie all rows of one source to one side of the split
    assert [message["content"] for message in said["messages"]] == ["Hi.", "Hello!", QUESTION, ANSWER]
    assert said["synthesis"]["row"] == "chats.jsonl:1"
    assert [part["message"] for part in said["synthesis"]["spoken"]] == [2, 3]
    assert all(part["likeness"] > 0.75 for part in said["synthesis"]["spoken"])


def test_existing_recordings_are_kept_and_bad_rows_are_reported_with_their_line(tmp_path):
    rows = (
        talk("How far is it?", "Two miles."),
        "{broken",
        {"messages": "none"},
        talk("?!", "Pardon?"),
        talk("How far is it?", "Two miles."),
        talk("x" * 2000, "That is long."),
    )
    first = run(recipe_of(tmp_path, *rows))
    assert [(row.recording, row.stage, row.code) for row in first.set_aside] == [
        ("chats.jsonl:2", "synthesize", "bad_json"),
        ("chats.jsonl:3", "synthesize", "bad_chat"),
        ("chats.jsonl:4", "synthesize", "no_words"),
        ("chats.jsonl:5", "synthesize", "duplicate"),
        ("chats.jsonl:6", "synthesize", "too_long"),
    ]
    assert (first.created, len(first.recordings), first.root.recordings) == (1, 1, 1)
    more = recipe_of(tmp_path, *rows, talk("And back?", "The same."))
    seen = synthesize(more, silent, make=False)
    assert (seen.created, seen.recordings) == (0, first.recordings)
    second = run(more)
    assert second.created == 1
    assert set(first.recordings) < set(second.recordings)
    third = run(recipe_of(tmp_path, talk("And back?", "The same.")))
    assert third.created == 0
    assert set(third.recordings) == set(second.recordings) - set(first.recordings)


def test_an_interruption_says_what_it_waits_for_and_keeps_what_was_spoken(tmp_path, monkeypatch):
    def interrupted(running: dict[Future[object], int], **_: object) -> None:
        while not all(future.running() or future.done() for future in running):
            time.sleep(0.01)
        raise KeyboardInterrupt

    recipe, told = recipe_of(tmp_path, talk("How far is it?", "Two miles.")), []
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.synthesis.run.wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, told.append)
    assert told[-1] == "stopping, when the 1 that are being spoken are done"
    assert (run(recipe).created, len(run(recipe).recordings)) == (0, 1)


def test_answers_and_voices_from_servers(tmp_path):
    wav = DEMO / "monologues" / "LJ002-0020.wav"

    def answer(request):
        if request["path"] == "/v1/audio/speech":
            return Answer(body=wav.read_bytes())
        question = request["body"]["messages"][-1]["content"]
        return Answer(500) if "broken" in question else completion("Just two miles.")

    rows = (talk("How far is it?"), talk("Is it broken?"), talk("How far?", "Distance: 2 mi"))
    with serving(answer) as server:
        server_config = {"url": server.url, "model": "m", "backoff": 0, "retries": 1}
        speech = {"server": server_config, "human_voices": ["a", "b"], "assistant_voices": ["c"]}
        recipe = recipe_of(tmp_path, *rows, answers=server_config, speech=speech)
        found = run(recipe)
        requests = len(server.seen)
        again = run(recipe)
    assert (found.created, again.created) == (2, 0)
    assert [(row.recording, row.code) for row in found.set_aside] == [("chats.jsonl:2", "server_error")]
    assert again.set_aside == found.set_aside
    assert len(server.seen) == requests + 2  # only what failed is requested again, twice
    seconds = soundfile.info(wav).duration
    for recording in found.recordings:
        sidecar = json.loads(Path(recording.sidecar.uri.removeprefix("file://")).read_text())
        assert sidecar["messages"][-1] == {"role": "assistant", "content": "Just two miles."}
        assert {part["voice"] for part in sidecar["synthesis"]["spoken"]} <= {"a", "b", "c"}
        audio = Path(recording.uri.removeprefix("file://"))
        assert soundfile.info(audio).duration == pytest.approx(2 * seconds + 1.0, abs=0.01)


FAILURES = {
    "broken": (Answer(500), "server_error"),
    "busy": (Answer(429), "rate_limited"),
    "slow": (Answer(delay=8), "timeout"),
    "wrong": (Answer(body=b'{"choices": 7}'), "bad_reply"),
    "page": (Answer(body=b"<html>"), "bad_reply"),
    "cut": (Answer(body=b"x" * 1000, reset=True), "unreachable"),
    "refused": (Answer(400, b'{"error": "no"}'), "refused"),
}


@pytest.mark.parametrize("failing", ["answers", "speech"])
def test_a_failing_server_sets_its_rows_aside_and_the_others_continue(tmp_path, failing):
    wav = DEMO / "monologues" / "LJ002-0020.wav"

    def answer(request):
        speech = "input" in request["body"]
        words = request["body"]["input"] if speech else request["body"]["messages"][-1]["content"]
        failure = next((one for name, (one, _) in FAILURES.items() if name in words), None)
        if failure and speech == (failing == "speech"):
            return failure
        return Answer(body=wav.read_bytes()) if speech else completion("Fine.")

    rows = [talk("Well?"), *(talk(f"Is it {name}?") for name in FAILURES), talk("And now?")]
    with serving(answer) as server:
        server_config = {
            "url": server.url,
            "model": "m",
            "backoff": 0,
            "retries": 0,
            "timeout": 3,
            "parallel": 8,
        }
        speech = {"server": server_config, "human_voices": ["a"], "assistant_voices": ["a"]}
        found = run(recipe_of(tmp_path, *rows, answers=server_config, speech=speech))
    assert [(row.recording, row.stage, row.code) for row in found.set_aside] == [
        (f"chats.jsonl:{n}", "synthesize", code) for n, (_, code) in enumerate(FAILURES.values(), 2)
    ]
    assert (found.created, len(found.recordings)) == (2, 2)


def test_a_server_that_speaks_with_another_voice_than_its_reference_is_detected(tmp_path):
    monologues = DEMO / "monologues"
    own, other = (monologues / name for name in ("LJ002-0020.wav", "1998-15444-0004.flac"))
    rows = [talk("How far is it?", "Two miles.")]

    def answer(request):
        return Answer(body=(other if request["body"]["input"] == "Two miles." else own).read_bytes())

    with serving(answer) as server:
        speech = {"server": {"url": server.url, "model": "m"}}
        recipe = recipe_of(tmp_path, *rows, speech=speech)
        (listed,) = run(recipe).recordings
    sidecar = json.loads(Path(listed.sidecar.uri.removeprefix("file://")).read_text())
    question, reply = (part["likeness"] for part in sidecar["synthesis"]["spoken"])
    assert reply < recipe.synthesize.checks.likeness_min < question


IN_TWO = "The first train leaves at six. The last one goes shortly before midnight."


def test_the_halves_of_an_answer_are_turns_of_their_own_styles(tmp_path):
    styles = {"slow": {"speed": 0.7}, "soft": {"gain_db": -12}}
    rows = [talk(f"When do the trains to {city} leave?", IN_TWO) for city in ("Leeds", "York", "Bath")]
    recipe = recipe_of(tmp_path, *rows, styles=styles, style_share=1)
    found = run(recipe)
    assert found.created == 3
    drawn = set()
    for listed in found.recordings:
        path = Path(listed.uri.removeprefix("file://"))
        sidecar = json.loads(Path(f"{path}.json").read_text())
        turns = [json.loads(line) for line in Path(f"{path}.jsonl").read_text().splitlines()]
        assert [(turn["speaker"], turn["text"]) for turn in turns] == [
            ("human", rows[0]["messages"][0]["content"].replace("Leeds", turns[0]["text"].split()[5])),
            *(("assistant", half) for half in split(IN_TWO, 2)),
        ]
        question, *spans = sidecar["synthesis"]["spoken"]
        assert (question["labels"], [span["message"] for span in spans]) == ({}, [1, 1])
        drawn.add(json.dumps([span["labels"] for span in spans]))
        samples, rate = soundfile.read(path)
        for turn, span in zip(turns[1:], spans, strict=True):
            assert span["likeness"] > 0.75
            pace = (turn["end"] - turn["start"]) / letters(turn["text"])
            loud = np.sqrt(np.mean(samples[round(turn["start"] * rate) : round(turn["end"] * rate)] ** 2))
            assert (pace > 0.08) == (span["labels"]["rate"] == "slow"), pace
            assert (loud < 0.04) == (span["labels"]["loudness"] == "soft"), loud
    assert len(drawn) > 1
    again = run(recipe)
    assert (again.created, again.recordings) == (0, found.recordings)


def test_a_row_requests_the_style_of_its_answer(tmp_path):
    rows = [talk("Say it.", ANSWER, **({"answer_style": style} if style else {})) for style in (None, "slow")]
    unknown = talk("Say it.", ANSWER, answer_style="sung")
    recipe = recipe_of(tmp_path, *rows, unknown, styles={"slow": {"speed": 0.6}})
    synthesize(recipe, (lines := []).append, make=False)
    assert lines[0].startswith("2 conversations to speak; 1 set aside, such as chats.jsonl:3: the row asks")
    found = run(recipe)
    assert [(row.recording, row.code) for row in found.set_aside] == [("chats.jsonl:3", "no_style")]
    assert "'sung', which synthesize.styles doesn't have" in found.set_aside[0].message
    seconds = {}
    for listed in found.recordings:
        path = Path(listed.uri.removeprefix("file://"))
        _, answer = json.loads(Path(f"{path}.json").read_text())["synthesis"]["spoken"]
        _, turn = (json.loads(line) for line in Path(f"{path}.jsonl").read_text().splitlines())
        assert (turn["text"], answer["likeness"] > 0.75) == (ANSWER, True)
        seconds[answer["labels"].get("rate")] = turn["end"] - turn["start"]
    assert seconds["slow"] > 1.4 * seconds[None]


def test_a_row_requests_a_style_for_each_span_of_its_answer(tmp_path):
    styles = {"slow": {"speed": 0.7}, "soft": {"gain_db": -12}}
    row, long = (talk("When?", IN_TWO, answer_style=["slow", *rest]) for rest in (["soft"], ["plain"] * 7))
    found = run(recipe_of(tmp_path, row, long, styles=styles))
    assert [(row.recording, row.code) for row in found.set_aside] == [("chats.jsonl:2", "not_split")]
    ((sidecar, turns),) = sidecars_of(found)
    assert [turn["text"] for turn in turns[1:]] == list(split(IN_TWO, 2))
    assert [part["labels"]["rate"] for part in sidecar["synthesis"]["spoken"][1:]] == ["slow", "normal"]


def test_answers_change_their_style_as_often_as_the_recipe_lets_them(tmp_path):
    answer = f"{IN_TWO} Tickets are sold at the station. You can bring a bicycle. It is free on Sundays."
    rows = [talk(f"When does number {n} leave?", answer) for n in range(4)]
    styles = {"slow": {"speed": 0.7}, "soft": {"gain_db": -12}}
    found = run(recipe_of(tmp_path, *rows, styles=styles, style_share=1, style_spans_max=5))
    numbers = set()
    for sidecar, turns in sidecars_of(found):
        spans = sidecar["synthesis"]["spoken"][1:]
        numbers.add(len(spans))
        assert " ".join(turn["text"] for turn in turns[1:]) == answer
        assert all(a["labels"] != b["labels"] for a, b in pairwise(spans))
        in_style = [span["labels"] != {"rate": "normal", "loudness": "normal"} for span in spans]
        assert ["plain" in span for span in spans] == in_style
    assert max(numbers) > 2


def test_a_question_asks_aloud_for_a_way_to_speak_and_the_answer_is_heard_to_have_it(tmp_path):
    asking = {"share": 1, "again_share": 0.5}
    styles = {"slow": {"speed": 0.6}}
    rows = [talk(QUESTION.replace("Edinburgh", city), ANSWER) for city in ("York", "Leeds", "Bath", "Hull")]
    found = run(recipe_of(tmp_path, *rows, styles=styles, spoken_instructions=asking))
    forms = set()
    for sidecar, (question, answer) in sidecars_of(found):
        instruction, messages = sidecar["synthesis"]["instruction"], sidecar["messages"]
        forms.add(instruction["form"])
        assert (instruction["styles"], instruction["held_out"]) == (["slow"], False)
        assert question["text"] == messages[-2]["content"]
        assert answer["text"] == messages[-1]["content"] == ANSWER
        assert len(messages) == (4 if instruction["form"] == "again" else 2)
        assert ("platform" in question["text"]) == (instruction["form"] == "with")
    assert forms == {"again", "with"}
    source = SpooledAudio(tmp_path / "audio", DecodeConfig(), "test")
    recording = annotated(source, found.recordings[0])
    quality = QualityStage(QualityConfig(), source, {n: resolve(n).path for n in QualityConfig().models})
    quality.setup()
    (measured,) = quality(Unit("u", (recording,))).recordings
    question, answer = turns_of(measured)
    assert heard_labels(question, LabelsConfig()) == {}
    assert heard_labels(answer, LabelsConfig())["rate"] == "slow"
    assert heard_labels(answer, LabelsConfig())["loudness"] == "normal"
    assert outcomes(answer, LabelsConfig()) == ["slow/confirmed"]


def obeying(says: Callable[[str, int], tuple[str, float]]):
    """A server that speaks with piper: by a text and how often it came before, other words and a speed."""
    piper = Piper({JOE: resolve(JOE).path})
    times: dict[str, int] = {}
    lock = Lock()

    def answer(request):
        asked = request["body"]["input"]
        with lock:
            times[asked] = times.get(asked, -1) + 1
            text, speed = says(asked, times[asked])
        (spoken,) = piper.speak([text], JOE, StyleConfig(speed=speed))
        wav = io.BytesIO()
        soundfile.write(wav, spoken.samples, spoken.rate, format="WAV")
        return Answer(body=wav.getvalue())

    return answer


def test_of_several_takes_of_a_server_the_one_that_is_heard_in_its_style_is_kept(tmp_path):
    def says(asked, before):
        text = asked.removeprefix("(slowly)")
        if text == asked:
            return text, 1.0
        # It takes long, but by saying too much; then it obeys; then it doesn't.
        return [(f"{text} {text}", 1.0), (text, 0.6), (text, 1.0)][before]

    row = talk("How far is it?", ANSWER, answer_style="slow")
    with serving(obeying(says)) as server:
        speech = {"server": {"url": server.url, "model": "tts", "tags": ["(slowly)"]}}
        styles = {"slow": {"tag": "(slowly)"}}
        recipe = recipe_of(tmp_path, row, speech=speech, styles=styles, takes=3)
        ((sidecar, (_, answer)),) = sidecars_of(run(recipe))
        said = [body["input"] for body in server.bodies]
        assert (run(recipe).created, len(server.bodies)) == (0, len(said))
    assert said.count(f"(slowly){ANSWER}") == 3
    assert said.count(ANSWER) == said.count("How far is it?") == 1
    _, spoken = sidecar["synthesis"]["spoken"]
    assert spoken["takes"] == {"spoken": 3, "confirmed": 2}
    assert answer["text"] == ANSWER
    assert 1.3 < (answer["end"] - answer["start"]) / spoken["plain"]["speech_seconds"] < 1.9


def test_what_is_wrong_with_own_phrasings_is_told_before_anything_is_spoken(tmp_path):
    packaged = Path(stages.synthesize.asking.__file__).with_name("en.txt").read_text(encoding="utf-8")
    own = tmp_path / "own.txt"
    own.write_text(f"{packaged}again: Say that {{moore}}.\n")
    recipe = recipe_of(tmp_path, talk("When?", IN_TWO), spoken_instructions={"phrasings": {"en": str(own)}})
    line = len(packaged.splitlines()) + 1
    with pytest.raises(SetupError, match=rf"own\.txt:{line}: unknown slot \{{moore\}}: add a line"):
        synthesize(recipe, silent, make=False)
    own.unlink()
    with pytest.raises(SetupError, match=r"own\.txt doesn't exist: name a file with templates"):
        synthesize(recipe, silent, make=False)


def sidecars_of(found: Synthesis):
    """The sidecar and the turns of each recording."""
    for listed in found.recordings:
        path = listed.uri.removeprefix("file://")
        turns = [json.loads(line) for line in Path(f"{path}.jsonl").read_text().splitlines()]
        yield json.loads(Path(f"{path}.json").read_text()), turns


def audio_of(found: Synthesis) -> list[bytes]:
    return [Path(listed.uri.removeprefix("file://")).read_bytes() for listed in found.recordings]


def test_an_answer_to_several_questions_is_spoken_once_and_recordings_do_not_depend_on_that(tmp_path):
    rows = [talk(question, "It's four.") for question in ("What is two plus two?", "And one plus three?")]
    folders = tmp_path / "first", tmp_path / "again"
    for folder in folders:
        folder.mkdir()
    first = run(recipe_of(folders[0], *rows))
    kept = folders[0] / "out" / "spoken" / "utterances"
    assert len(list(kept.rglob("*.flac"))) == 4  # both questions, the answer and the reference
    shutil.copytree(kept, folders[1] / "out" / "spoken" / "utterances")
    again = run(recipe_of(folders[1], *rows))
    assert (first.created, again.created) == (2, 2)
    assert audio_of(first) == audio_of(again)


def test_changed_voices_are_recorded_and_answers_stay_as_they_are(tmp_path):
    changes = {"share": 1, "speeds": [1.0], "semitones": [-3, -3], "silence": [0, 0]}
    changes |= {"noise_share": 1, "room_share": 0}
    rows = [talk(QUESTION, ANSWER)]
    folders = tmp_path / "plain", tmp_path / "changed"
    turns, spoken = [], []
    for folder, settings in zip(folders, ({}, {"voice_changes": changes}), strict=True):
        folder.mkdir()
        (listed,) = run(recipe_of(folder, *rows, **settings)).recordings
        path = Path(listed.uri.removeprefix("file://"))
        spoken.append(json.loads(Path(f"{path}.json").read_text())["synthesis"]["spoken"])
        turns.append([json.loads(line) for line in Path(f"{path}.jsonl").read_text().splitlines()])
    plain, changed = ([turn["end"] - turn["start"] for turn in each] for each in turns)
    assert changed[0] == pytest.approx(plain[0] * 2 ** (3 / 12), rel=0.01)
    assert changed[1] == pytest.approx(plain[1], abs=0.002)
    change = spoken[1][0]["change"]
    assert (change["speed"], change["semitones"]) == (1.0, -3.0)
    assert 15 <= change["noise_db"] <= 40
    assert "room_seconds" not in change
    assert ["change" in part for part in (*spoken[0], spoken[1][1])] == [False] * 3
    assert spoken[1][0]["likeness"] > 0.75  # of what the voice said, before its change


def test_a_change_of_a_style_speaks_anew_and_the_default_styles_do_not(tmp_path):
    row = talk("How far is it?", "Two miles.")
    first = run(recipe_of(tmp_path, row))
    assert run(recipe_of(tmp_path, row, styles=STYLES)).created == 0
    again = run(recipe_of(tmp_path, row, styles={"slow": {"speed": 0.6}}))
    assert (first.created, again.created) == (1, 1)


def test_a_server_that_ignores_the_speed_is_detected_before_anything_is_spoken(tmp_path):
    wav = DEMO / "monologues" / "LJ002-0020.wav"
    with serving([Answer(body=wav.read_bytes())]) as server:
        speech = {"server": {"url": server.url, "model": "m"}, "assistant_voices": ["anna"]}
        recipe = recipe_of(tmp_path, talk("When?", IN_TWO), speech=speech, style_share=0.5)
        with pytest.raises(SetupError, match=r"the voice anna is not fast at 1\.35 times its speed"):
            run(recipe)
    assert {body["input"] for body in server.bodies} == {recipe.synthesize.reference}


def test_a_voice_that_speaks_on_both_sides_is_told_before_and_while_it_speaks(tmp_path):
    recipe = recipe_of(tmp_path, talk("How far is it?", "Two miles."))
    lines = []
    synthesize(recipe, lines.append, make=False)
    run(recipe, lines.append)
    for line in lines[:2]:
        assert "questions and answers have the same voice, package:piper-joe" in line
        assert "`speech: kokoro`" in line
    lines.clear()
    run(recipe, lines.append)
    assert lines == []


def test_a_spoken_conversation_stays_what_it_was_before_there_were_engines(tmp_path):
    recipe = recipe_of(tmp_path, talk("How far is it?"))
    models, embedding = speech_models(recipe.synthesize.speech), resolve(recipe.synthesize.embedding)
    assert _fingerprint(recipe, models, embedding, {}) == "7d0d4d807298efb7"


def test_conversations_are_relative_to_the_recipe(tmp_path):
    write(tmp_path / "chats.jsonl", talk("How far is it?"))
    (tmp_path / "recipe.yaml").write_text("name: x\nsynthesize: {conversations: [chats.jsonl]}\n")
    assert load(tmp_path / "recipe.yaml").synthesize.conversations == (str(tmp_path / "chats.jsonl"),)
    assert synthesize(Recipe(name="x", output=str(tmp_path)), silent) is None


def test_rows_that_are_added_at_the_end_leave_the_units_before_them_as_they_are(tmp_path):
    rows = [talk(f"Is {n} an even number?", "Perhaps.") for n in range(8)]

    def units(*rows):
        recipe = recipe_of(tmp_path, *rows, speak=["human"])
        recipe = recipe.model_copy(update={"units": UnitsConfig(recordings=2)})
        return [unit.name for unit in make_plan(recipe, run(recipe)).units]

    before, after = units(*rows[:5]), units(*rows)
    assert len(before) > 1
    assert after[: len(before) - 1] == before[:-1]
