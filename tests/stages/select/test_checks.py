"""Every threshold has its own reason code, reports the value and the limit, and can be turned off."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.recording import HeardLabel, Problem, Word
from stages.select import (
    LIMITS,
    EvaluationPrompts,
    SelectConfig,
    ThresholdResult,
    admit,
    duplicates,
    recording_item,
    select,
    text_item,
    would_keep,
)
from stages.select.duplicates import signature
from tests.stages.annotated import a_turn

DEFAULT = SelectConfig()


def test_a_good_turn_is_kept():
    assert select(a_turn(), DEFAULT) is None


@pytest.mark.parametrize(
    ("field", "turn", "code"),
    [
        ("seconds_min", a_turn(end=0.6), "too_short"),
        ("seconds_max", a_turn(end=90.0), "too_long"),
        ("words_min", a_turn(text="..."), "few_words"),
        ("words_min", a_turn(text="[laughter] (breath)"), "few_words"),
        ("language_probability_min", a_turn(language_probability=0.2), "language_unsure"),
        ("average_log_probability_min", a_turn(average_log_probability=-1.9), "text_unsure"),
        ("no_speech_probability_max", a_turn(no_speech_probability=0.95), "no_speech_likely"),
        ("compression_ratio_max", a_turn(compression_ratio=5.1), "repetitive"),
        ("repeated_share_max", a_turn(repeated_share=0.8), "repeats_itself"),
        ("characters_per_second_min", a_turn(characters_per_second=0.3), "little_text"),
        ("characters_per_second_max", a_turn(characters_per_second=60.0), "much_text"),
        ("longest_word_max", a_turn(longest_word=120), "long_word"),
        ("words_per_second_min", a_turn(words_per_second=0.1), "slow"),
        ("words_per_second_max", a_turn(words_per_second=12.0), "fast"),
        ("dnsmos_overall_min", a_turn(dnsmos_overall=1.1), "poor_quality"),
        ("speech_share_min", a_turn(speech_share=0.1), "little_speech"),
        ("words_outside_speech_max", a_turn(words_outside_speech=0.5), "words_without_speech"),
        ("clipped_share_max", a_turn(clipped_share=0.2), "clipped"),
        ("loudness_min", a_turn(loudness_lufs=-75.0), "quiet"),
    ],
)
def test_a_threshold_sets_turns_aside_and_none_turns_it_off(field, turn, code):
    problem = select(turn, DEFAULT)
    assert problem is not None
    assert problem.code == code
    assert f"the limit of {getattr(DEFAULT, field):g}" in problem.message
    assert select(turn, SelectConfig(**{field: None})) is None


def test_turns_on_which_two_recognisers_disagree_are_set_aside_where_a_limit_is_set():
    limited = SelectConfig(disagreement_max=0.2)
    assert select(a_turn(disagreement=0.25), limited).code == "recognisers_disagree"
    assert select(a_turn(disagreement=0.2), limited) is None
    assert select(a_turn(disagreement=None), limited) is None
    assert select(a_turn(disagreement=1.0), DEFAULT) is None


def test_turns_that_differ_from_the_text_that_came_with_them_are_set_aside_where_a_limit_is_set():
    limited = SelectConfig(known_text_error_max=0.3)
    assert select(a_turn(known_text_error=0.4), limited).code == "other_text"
    assert select(a_turn(known_text_error=0.3), limited) is None
    assert select(a_turn(known_text_error=None), limited) is None
    assert select(a_turn(known_text_error=1.0), DEFAULT) is None


SUNG = {"speech_share": 0.2, "repeated_share": 0.6, "compression_ratio": 3.0, "words_outside_speech": 0.6}


def test_songs_have_limits_of_their_own():
    song = replace(a_turn(**SUNG), sings=True)
    own = SelectConfig(singing={})
    assert select(song, own) is None
    assert select(a_turn(**SUNG), own).code == select(song, DEFAULT).code == "repetitive"
    wrong = replace(a_turn(**SUNG, known_text_error=0.9), sings=True)
    assert select(wrong, own).code == "other_text"
    assert "over the limit of 0.6" in select(wrong, own).message
    assert select(replace(a_turn(clipped_share=0.2), sings=True), own).code == "clipped"


def test_lyrics_that_are_no_text_set_their_recording_aside():
    problem = admit("song.wav", {"lyrics": ["la"]}, SelectConfig(singing={}))
    assert problem.code == "bad_lyrics"
    assert admit("song.wav", {"lyrics": ["la"]}, DEFAULT) is None


def test_every_limit_of_songs_is_one_of_speech():
    assert set(SelectConfig(singing={}).singing.model_fields) <= set(LIMITS)


def test_every_threshold_has_a_check():
    thresholds = {field for field in SelectConfig.model_fields if field.endswith(("_min", "_max"))}
    assert set(LIMITS) == thresholds


def test_the_message_gives_the_value_and_the_limit():
    assert select(a_turn(index=7, dnsmos_overall=1.25), DEFAULT) == Problem(
        "poor_quality", "DNSMOS overall is 1.25, under the limit of 1.5", 7
    )


def test_a_value_at_the_limit_is_kept():
    assert select(a_turn(dnsmos_overall=1.5, compression_ratio=2.4), DEFAULT) is None


def test_a_missing_measure_passes():
    unmeasured = dict.fromkeys(
        (
            "average_log_probability",
            "no_speech_probability",
            "dnsmos_overall",
            "words_per_second",
            "loudness_lufs",
        )
    )
    assert select(a_turn(**unmeasured), DEFAULT) is None


def test_hallucinated_text_has_its_own_reason():
    turn = a_turn(text="Thanks for watching!", phantom=True, average_log_probability=-2.0)
    assert select(turn, DEFAULT).code == "phantom"
    assert "'Thanks for watching!'" in select(turn, DEFAULT).message
    assert select(a_turn(phantom=True), SelectConfig(phantom=False)) is None


def test_turns_without_text_and_overlapped_turns_are_set_aside():
    assert select(a_turn(transcript=False), DEFAULT).code == "no_text"
    assert select(a_turn(text="  "), DEFAULT).code == "no_text"
    assert select(a_turn(overlapped=True), DEFAULT).code == "overlapped"


def test_a_problem_found_by_annotate_is_the_reason():
    problem = Problem("no_words", "nothing was recognised", 0)
    assert select(a_turn(problem=problem), DEFAULT) is problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("it's a well-known fact", 4),
        ("你好吗", 1.5),
        ("我用 Python 写", 2.5),
        ("ありがとう", 2.5),
        ("안녕하세요 여러분", 2),
    ],
)
def test_two_characters_count_as_a_word_in_scripts_without_spaces(text, words):
    turn = a_turn(text=text)
    assert select(turn, SelectConfig(words_min=int(words))) is None
    assert select(turn, SelectConfig(words_min=int(words) + 1)).code == "few_words"


def test_only_listed_languages_are_kept():
    config = SelectConfig(languages=("en", "zh"))
    assert select(a_turn(language="zh"), config) is None
    assert select(a_turn(language="de"), config).code == "other_language"


class TestSidecar:
    CONFIG = SelectConfig(sidecar={"consent": True, "licence.name": ["CC-BY-4.0", "CC0-1.0"]})

    def test_a_recording_with_the_required_values_is_kept(self):
        assert select(a_turn(sidecar={"consent": True, "licence": {"name": "CC0-1.0"}}), self.CONFIG) is None

    def test_a_recording_without_a_required_field_is_set_aside(self):
        assert admit("a.wav", {}, self.CONFIG) == Problem(
            "sidecar_lacks_field", "the sidecar has no field consent"
        )
        problem = admit("a.wav", {"consent": True, "licence": "CC0-1.0"}, self.CONFIG)
        assert problem.message == "the sidecar has no field licence.name"
        assert select(a_turn(index=3), self.CONFIG).turn == 3

    @pytest.mark.parametrize("consent", [False, 1, "true", ["true"]])
    def test_values_of_other_types_do_not_match(self, consent):
        problem = admit("a.wav", {"consent": consent, "licence": {"name": "CC0-1.0"}}, self.CONFIG)
        assert problem.code == "sidecar_differs"
        assert "consent is" in problem.message
        assert "not True" in problem.message


def test_would_keep_varies_one_threshold():
    turns = [a_turn(end=4.0, dnsmos_overall=quality) for quality in (1.2, 2.0, 2.6, 3.2)]
    turns.append(a_turn(end=4.0, dnsmos_overall=4.0, phantom=True))
    assert would_keep(turns, DEFAULT, "dnsmos_overall_min", [None, 1.5, 2.5, 3.5]) == [
        ThresholdResult(None, 4, 16.0),
        ThresholdResult(1.5, 3, 12.0),
        ThresholdResult(2.5, 2, 8.0),
        ThresholdResult(3.5, 0, 0),
    ]
    assert would_keep(turns, DEFAULT, "phantom", [True, False]) == [
        ThresholdResult(True, 3, 12.0),
        ThresholdResult(False, 4, 16.0),
    ]


def test_an_unknown_threshold_is_rejected():
    with pytest.raises(ValidationError, match="dnsmos"):
        SelectConfig(dnsmos=3)


@pytest.mark.parametrize(
    "measured",
    [
        # Measures of Whisper base and DNSMOS on excerpts of meetings (AMI) and of a call at 8 kHz.
        {"end": 1.9, "dnsmos_overall": 2.91, "average_log_probability": -0.60, "no_speech_probability": 0.14},
        {
            "end": 22.0,
            "dnsmos_overall": 2.68,
            "average_log_probability": -0.21,
            "no_speech_probability": 0.08,
        },
        {"end": 2.4, "dnsmos_overall": 2.22, "average_log_probability": -0.96, "no_speech_probability": 0.42},
        {"end": 1.0, "dnsmos_overall": 1.85, "average_log_probability": -0.73, "no_speech_probability": 0.18},
    ],
)
def test_meetings_and_calls_are_kept_by_default(measured):
    assert select(a_turn(loudness_lufs=-46.0, **measured), DEFAULT) is None


def test_a_word_hallucinated_on_noise_is_set_aside_by_default():
    you = {"end": 1.1, "text": "you.", "average_log_probability": -1.83, "no_speech_probability": 0.69}
    assert select(a_turn(**you), DEFAULT).code == "text_unsure"


class TestLists:
    TURN = a_turn(index=3, recording="calls/one.wav")
    NAMES = ("calls/one.wav", TURN.key[:16], TURN.key)

    @pytest.mark.parametrize("name", NAMES)
    def test_recordings_and_turns_are_denied_by_path_or_key(self, name):
        assert select(self.TURN, SelectConfig(deny=(name,))).code == "denied"
        assert select(a_turn(recording="calls/two.wav"), SelectConfig(deny=(name,))) is None

    @pytest.mark.parametrize("name", NAMES)
    def test_an_allow_list_keeps_only_its_entries(self, name):
        assert select(self.TURN, SelectConfig(allow=(name,))) is None
        assert select(a_turn(recording="calls/two.wav"), SelectConfig(allow=(name,))).code == "not_allowed"

    def test_a_deny_list_of_recordings_applies_to_whole_recordings(self):
        assert admit("calls/one.wav", {}, SelectConfig(deny=("calls/one.wav",))).code == "denied"
        assert admit("calls/one.wav", {}, SelectConfig(deny=(self.TURN.key,))) is None


@pytest.mark.parametrize(
    ("consent", "kept"),
    [
        *((value, True) for value in (True, "yes", " Given ", "true")),
        *((value, False) for value in (False, "no", "pending", 1, None, {})),
    ],
)
def test_required_consent_must_be_in_the_sidecar(consent, kept):
    config = SelectConfig(consent="required")
    turn = a_turn(sidecar={"consent": consent})
    assert (select(turn, config) is None) == kept
    assert select(a_turn(), config).code == "no_consent"
    assert select(a_turn(), SelectConfig()) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Write to anna.b@example.co.uk, please.", "an e-mail address"),
        ("5500-0000-0000-0004", "a card number"),
        ("Call me on +49 30 901820 tonight.", "a phone number"),
    ],
)
def test_personal_data_is_set_aside_if_the_recipe_says_so(text, kind):
    assert select(a_turn(text=text), SelectConfig(pii=True)).message == f"the text holds {kind}"
    assert select(a_turn(text=text), SelectConfig()) is None


class TestEvaluationPrompts:
    PROMPTS = EvaluationPrompts(
        ["Tell me, in one sentence, why the sky is blue at noon!", "Sing a song", "唱一首关于大海的歌曲吧"], 8
    )

    @pytest.mark.parametrize(
        "text",
        ["So: tell me in one sentence WHY the sky was grey", "Sing a song.", "请你唱一首关于大海的歌曲吧"],
    )
    def test_shared_words_are_found_regardless_of_case_and_punctuation(self, text):
        problem = self.PROMPTS.shared(text, 7)
        assert (problem.code, problem.turn) == ("evaluation_prompt", 7)

    @pytest.mark.parametrize("text", ["please sing a song for me", "the sky is blue", "", "大海"])
    def test_fewer_words_do_not_match_and_short_prompts_must_equal_the_text(self, text):
        assert self.PROMPTS.shared(text) is None


class TestDuplicates:
    SENTENCE = "the train to the city leaves at nine from the second platform behind the old station today"

    def found(self, texts, **options):
        items = [text_item(name, text, 8) for name, text in texts.items()]
        return duplicates([item for item in items if item], **{"similarity": 0.8} | options)

    def test_texts_that_differ_in_one_of_many_words_are_duplicates(self):
        long = " ".join(f"w{n}" for n in range(100))
        texts = {
            "a": long,
            "b": long.replace("w50", "other"),
            "c": " ".join(f"v{n}" for n in range(100)),
            "d": self.SENTENCE,
            "e": self.SENTENCE.upper() + "!",
            "f": "yes I do",
            "g": "yes I do",
        }
        found = self.found(texts)
        assert len(found) == 2
        assert {*found.items()} <= {("a", "b"), ("b", "a"), ("d", "e"), ("e", "d")}

    def test_the_first_name_of_equal_texts_is_kept_in_any_order(self):
        texts = {f"n{n}": self.SENTENCE for n in range(9)}
        assert self.found(texts) == {f"n{n}": "n0" for n in range(1, 9)}
        assert self.found(dict(reversed(texts.items()))) == self.found(texts)

    @given(st.permutations(range(12)))
    def test_the_result_does_not_depend_on_the_order(self, order):
        long = [f"w{n}" for n in range(60)]
        texts = {f"n{n}": " ".join(long[n:] + [f"x{n // 4}"] * n) for n in range(12)}
        shuffled = {f"n{n}": texts[f"n{n}"] for n in order}
        assert self.found(shuffled, similarity=0.7) == self.found(texts, similarity=0.7)

    def test_similarity_is_estimated_within_a_tenth(self):
        def triples(start):
            return {f"{n}" for n in range(start, start + 400)}

        for start in (0, 40, 100, 200, 300):
            true = len(triples(0) & triples(start)) / len(triples(0) | triples(start))
            estimate = (signature(triples(0)) == signature(triples(start))).mean()
            assert estimate == pytest.approx(true, abs=0.1)

    def test_a_recording_in_another_format_is_a_duplicate_by_its_words(self):
        def words(shift, step=0.4):
            timed = [
                Word(n * step + shift, n * step + shift + 0.3, f" w{n % 17}x{n % 13}", 0.9)
                for n in range(300)
            ]
            return [a_turn(words=timed)]

        items = [
            recording_item("original", "1" * 64, words(0.0), 8),
            recording_item("mp3", "2" * 64, words(0.02), 8),
            recording_item("faster", "0" * 64, words(0.0, 0.3), 8),
            recording_item("copy", "1" * 64, [], 8),
            recording_item("silent", "3" * 64, [], 8),
        ]
        assert duplicates(items, 0.8) == {"mp3": "copy", "original": "copy"}


@pytest.mark.parametrize(
    ("label", "code"), [("Speech", None), ("Music", "heard_otherwise"), (None, "heard_otherwise")]
)
def test_turns_in_which_an_ear_hears_something_else_are_set_aside(label, code):
    turn = a_turn(heard=(HeardLabel("sound", label, 0.9),))
    problem = select(turn, SelectConfig(heard={"sound": ("Speech",)}))
    assert (problem.code if problem else None) == code
    assert select(turn, SelectConfig(heard={"dialect": ("cantonese",)})) is None
