"""Interleaving, loss masks, spans and decoding: examples of the layout, then properties of any input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import DataError
from schemas.layout import ReadMessage, header, read, span, whole_groups
from schemas.recording import Codes
from schemas.sample import Clip, Draft, Message, Speech, Text
from schemas.vocabulary import Modality
from stages.interleave import InterleaveConfig, interleave, lay_out

LITERALS = ["<|EOT|>", "<|BOT|>assistant\n", "<audio_5>", "<audio_start>", "</s>", "<|0.00|>", "\x00"]
texts = st.lists(st.sampled_from(LITERALS) | st.text(), max_size=8).map("".join)
ratios = st.tuples(st.integers(1, 30), st.integers(1, 12).map(lambda groups: 5 * groups))


@st.composite
def codes(draw, groups_max=40):
    groups = draw(st.integers(1, groups_max))
    linguistic = draw(st.lists(st.integers(0, 1023), min_size=2 * groups, max_size=2 * groups))
    semantic = draw(st.lists(st.integers(0, 4095), min_size=3 * groups, max_size=3 * groups))
    return Codes(tuple(linguistic), tuple(semantic))


def groups(count):
    return Codes(tuple(range(2 * count)), tuple(range(3 * count)))


def speech(codes):
    return Speech(codes, Clip("calls/one.wav", 0, 1.0, 2.0), turn=0, speaker="A", text=None)


def draft(*messages, family="aqtaa"):
    return Draft("0123456789abcdef-00000-" + family, family, messages, {"language": "en"})


def joined(*parts):
    return np.concatenate(parts).tolist()


def text_ids(count):
    return np.arange(100, 100 + count, dtype=np.int32)


class TestRatio:
    """t*10 <as> g g g t*10 g g g t*4 g g g g <ae>"""

    def test_ten_text_ids_alternate_with_three_groups_and_the_remaining_codes_follow(self, vocabulary):
        text, audio = text_ids(24), span(groups(10), vocabulary)
        start, end, g = audio[:1], audio[-1:], np.split(audio[1:-1], 10)
        runs = [run for _, run in interleave(text, audio, (10, 15), vocabulary)]
        assert joined(*runs) == joined(
            *(text[:10], start, g[0], g[1], g[2]),
            *(text[10:20], g[3], g[4], g[5]),
            *(text[20:], g[6], g[7], g[8], g[9], end),
        )

    def test_if_audio_ends_first_its_end_marker_stays_with_it_and_the_remaining_text_follows(
        self, vocabulary
    ):
        text, audio = text_ids(35), span(groups(4), vocabulary)
        runs = [run for _, run in interleave(text, audio, (10, 15), vocabulary)]
        assert joined(*runs) == joined(text[:10], audio[:16], text[10:20], audio[16:], text[20:])
        assert audio[16:].tolist()[-1] == vocabulary.audio_end

    def test_text_and_audio_may_end_together(self, vocabulary):
        text, audio = text_ids(20), span(groups(6), vocabulary)
        runs = interleave(text, audio, (10, 15), vocabulary)
        assert [(side, len(run)) for side, run in runs] == [(0, 10), (1, 16), (0, 10), (1, 16)]

    @pytest.mark.parametrize(
        ("ratio", "nearest"),
        [
            ((10, 16), r"\[10, 15\] or \[10, 20\]"),
            ((10, 14), r"\[10, 10\] or \[10, 15\]"),
            ((3, 1), r"such as \[3, 5\]"),
            ((2, 52), r"\[2, 50\] or \[2, 55\]"),
        ],
    )
    def test_a_ratio_that_splits_groups_is_rejected_and_the_nearest_valid_ones_are_suggested(
        self, ratio, nearest
    ):
        with pytest.raises(
            ValueError, match=f"must be a multiple of 5, such as .*{nearest.split('such as ')[-1]}"
        ):
            InterleaveConfig(ratio=ratio)

    @pytest.mark.parametrize("ratio", [(3, 5), (6, 50), (10, 15), (1, 5)])
    def test_the_ratios_of_the_paper_are_accepted(self, ratio):
        assert InterleaveConfig(ratio=ratio).ratio == ratio

    def test_every_audio_span_keeps_its_own_markers(self, vocabulary):
        text = text_ids(30)
        audio = np.concatenate([span(groups(3), vocabulary), span(groups(4), vocabulary)])
        runs = [run for _, run in interleave(text, audio, (10, 15), vocabulary)]
        assert [len(run) for run in runs] == [10, 17, 10, 16, 10, 6]
        assert runs[1][-1] == vocabulary.audio_end
        assert runs[3][0] == vocabulary.audio_start

    def test_text_or_audio_alone_is_unchanged(self, vocabulary):
        audio, empty = span(groups(5), vocabulary), text_ids(0)
        assert joined(*(run for _, run in interleave(empty, audio, (10, 15), vocabulary))) == audio.tolist()
        assert interleave(text_ids(3), empty, (10, 15), vocabulary)[0][1].tolist() == [100, 101, 102]

    @given(length=st.integers(0, 200), codes=codes(), ratio=ratios)
    def test_the_pattern_holds_until_one_side_ends(self, vocabulary, length, codes, ratio):
        text, audio = text_ids(length), span(codes, vocabulary)
        runs = interleave(text, audio, ratio, vocabulary)
        assert joined(*(run for side, run in runs if side == 0), []) == text.tolist()
        assert joined(*(run for side, run in runs if side == 1)) == audio.tolist()
        counts = [
            (side, int((vocabulary.modality(run) != Modality.TEXT).sum()) if side else len(run))
            for side, run in runs
        ]
        n, m = ratio
        full_rounds = min(length // n, 5 * len(codes.linguistic) // 2 // m)
        assert counts[: 2 * full_rounds] == [(0, n), (1, m)] * full_rounds


QUESTION_CODES, ANSWER_CODES = groups(4), groups(10)


class TestLayout:
    def test_aqtaa_interleaves_the_answer_and_has_loss_on_the_answer_only(self, vocabulary):
        answer = "one two three four five six seven eight nine ten eleven"
        text = vocabulary.encode(answer)
        assert len(text) == 11
        sample = lay_out(
            draft(
                Message("system", (Text("Be brief."),)),
                Message("human", (speech(QUESTION_CODES),)),
                Message("assistant", (Text(answer), speech(ANSWER_CODES)), interleaved=True),
            ),
            vocabulary,
            InterleaveConfig(),
        )
        audio = span(ANSWER_CODES, vocabulary)
        prompt = joined(
            *(header("system", vocabulary), vocabulary.encode("Be brief."), [vocabulary.eot]),
            *(header("human", vocabulary), span(QUESTION_CODES, vocabulary), [vocabulary.eot]),
            header("assistant", vocabulary),
        )
        target = joined(text[:10], audio[:16], text[10:], audio[16:], [vocabulary.eot])
        assert sample.tokens.tolist() == prompt + target
        assert sample.loss.tolist() == [0] * len(prompt) + [1] * len(target)
        assert (sample.tokens.dtype, sample.loss.dtype) == (np.int32, np.uint8)

    def test_asr_answers_speech_with_text(self, vocabulary):
        sample = lay_out(
            draft(
                Message("human", (Text("Write this down.\n"), speech(QUESTION_CODES))),
                Message("assistant", (Text("hello"),)),
            ),
            vocabulary,
            InterleaveConfig(),
        )
        target = joined(vocabulary.encode("hello"), [vocabulary.eot])
        assert sample.tokens.tolist() == joined(
            *(
                header("human", vocabulary),
                vocabulary.encode("Write this down.\n"),
                span(QUESTION_CODES, vocabulary),
            ),
            *([vocabulary.eot], header("assistant", vocabulary), target),
        )
        assert sample.loss.sum() == len(target)

    def test_tts_answers_text_with_speech(self, vocabulary):
        sample = lay_out(
            draft(
                Message("human", (Text("Say:\n"), Text("hello"))),
                Message("assistant", (speech(ANSWER_CODES),)),
            ),
            vocabulary,
            InterleaveConfig(),
        )
        target = joined(span(ANSWER_CODES, vocabulary), [vocabulary.eot])
        assert sample.tokens.tolist() == joined(
            *(header("human", vocabulary), vocabulary.encode("Say:\n"), vocabulary.encode("hello")),
            *([vocabulary.eot], header("assistant", vocabulary), target),
        )
        assert sample.loss.sum() == len(target)

    def test_continuation_has_loss_on_everything_after_bos(self, vocabulary):
        sample = lay_out(draft(Message(None, (speech(ANSWER_CODES),))), vocabulary, InterleaveConfig())
        assert sample.tokens.tolist() == joined(
            [vocabulary.bos], span(ANSWER_CODES, vocabulary), [vocabulary.eos]
        )
        assert sample.loss.tolist() == [0] + [1] * (len(sample.tokens) - 1)

    def test_a_sample_over_the_limit_is_set_aside(self, vocabulary):
        document = draft(Message(None, (speech(ANSWER_CODES),)))
        lay_out(document, vocabulary, InterleaveConfig(max_tokens=54))
        with pytest.raises(DataError, match="54 tokens, over the limit of 53") as caught:
            lay_out(document, vocabulary, InterleaveConfig(max_tokens=53))
        assert caught.value.code == "too_long"

    def test_the_audio_clips_are_in_the_order_of_the_parts(self, vocabulary):
        question, answer = Clip("c.wav", 0, 0.0, 1.0), Clip("c.wav", 1, 1.5, 3.0)
        sample = lay_out(
            draft(
                Message("human", (Speech(QUESTION_CODES, question, 0, "A", "why"),)),
                Message("assistant", (Speech(ANSWER_CODES, answer, 1, "B", "so"),)),
            ),
            vocabulary,
            InterleaveConfig(),
        )
        assert sample.audio == (question, answer)


@given(
    system=st.none() | texts,
    answer=texts,
    instruction=texts,
    ask=codes(),
    say=codes(),
    ratio=ratios,
    interleaved=st.booleans(),
)
def test_any_sample_decodes_to_its_roles_texts_and_codes(
    vocabulary, system, answer, instruction, ask, say, ratio, interleaved
):
    messages = [Message("human", (Text(instruction), speech(ask)))]
    messages += [Message("assistant", (Text(answer), speech(say)), interleaved=interleaved)]
    expected = [ReadMessage("human", instruction, (ask,)), ReadMessage("assistant", answer, (say,))]
    if system is not None:
        messages.insert(0, Message("system", (Text(system),)))
        expected.insert(0, ReadMessage("system", system, ()))
    sample = lay_out(draft(*messages), vocabulary, InterleaveConfig(ratio=ratio, max_tokens=None))

    assert read(sample.tokens, vocabulary) == tuple(expected)
    assert ((sample.tokens >= 0) & (sample.tokens < vocabulary.size)).all()

    bots = np.flatnonzero(sample.tokens == vocabulary.bot)
    target = len(vocabulary.encode(answer)) + 5 * len(say.linguistic) // 2 + len(("<as>", "<ae>", "EOT"))
    assert sample.loss.sum() == target
    assert sample.loss[-target:].all()
    assert bots[-1] + len(header("assistant", vocabulary)) == len(sample.tokens) - target


MODES = ["interleaved", "text_first", "audio_only", "text_only"]
CONCATENATIONS = ["marker_preserving", "marker_removal", "pre_interleaved"]
configs = st.builds(
    InterleaveConfig,
    mode=st.sampled_from(MODES),
    ratio=ratios,
    concatenation=st.sampled_from(CONCATENATIONS),
    max_tokens=st.none(),
)


@given(spans=st.lists(st.tuples(texts, codes(12)), min_size=1, max_size=4), config=configs)
def test_answers_of_several_spans_decode_in_every_mode_and_concatenation(vocabulary, spans, config):
    content = [part for text, say in spans for part in (Text(text), speech(say))]
    ask = Message("human", (speech(QUESTION_CODES),))
    sample = lay_out(draft(ask, Message("assistant", tuple(content), interleaved=True)), vocabulary, config)
    _, answer = read(sample.tokens, vocabulary)

    texts = [text for text, _ in spans] if config.mode != "audio_only" else []
    audio_codes = [codes for _, codes in spans] if config.mode != "text_only" else []
    assert answer.text == "".join(texts)
    if config.concatenation == "marker_removal" and audio_codes:
        linguistic = sum((codes.linguistic for codes in audio_codes), ())
        audio_codes = [Codes(linguistic, sum((codes.semantic for codes in audio_codes), ()))]
    assert answer.codes == tuple(audio_codes)
    assert ((sample.tokens >= 0) & (sample.tokens < vocabulary.size)).all()

    target = int(sample.loss.sum())
    prompt = joined(
        *(header("human", vocabulary), span(QUESTION_CODES, vocabulary), [vocabulary.eot]),
        header("assistant", vocabulary),
    )
    assert sample.tokens[:-target].tolist() == prompt
    assert sample.loss.tolist() == [0] * len(prompt) + [1] * target
    assert len(sample.audio) == 1 + (len(spans) if config.mode != "text_only" else 0)


@given(spans=st.lists(st.tuples(texts, codes(12)), min_size=1, max_size=4), config=configs)
def test_the_spans_of_every_part_cover_exactly_its_ids(vocabulary, spans, config):
    content = [part for text, say in spans for part in (Text(text), speech(say))]
    message = Message("assistant", tuple(content), interleaved=True)
    sample = lay_out(draft(message), vocabulary, config)
    parts = sample.record["messages"][0]["content"]
    laid_out = [part for part in content if isinstance(part, Text) or config.mode != "text_only"]
    laid_out = [part for part in laid_out if isinstance(part, Speech) or config.mode != "audio_only"]
    markers = [vocabulary.audio_start, vocabulary.audio_end]

    covered = 0
    for part, described in zip(laid_out, parts, strict=True):
        ids = [id for first, end in described["spans"] for id in sample.tokens[first:end].tolist()]
        covered += len(ids)
        if isinstance(part, Text):
            assert described["text"] == part.text
            assert ids == vocabulary.encode(part.text).tolist()
        elif config.concatenation == "marker_removal":
            assert [id for id in ids if id not in markers] == span(part.codes, vocabulary)[1:-1].tolist()
        else:
            assert ids == span(part.codes, vocabulary).tolist()
    assert covered == len(sample.tokens) - len(header("assistant", vocabulary)) - len(["EOT"])


class TestModes:
    """Eleven text ids and ten groups of codes."""

    TEXT = "one two three four five six seven eight nine ten eleven"

    @pytest.mark.parametrize(
        ("mode", "parts"),
        [
            ("text_first", ("text", "audio")),
            ("audio_only", ("audio",)),
            ("text_only", ("text",)),
        ],
    )
    def test_text_then_audio_or_only_one_of_them(self, vocabulary, mode, parts):
        answer = Message("assistant", (Text(self.TEXT), speech(ANSWER_CODES)), interleaved=True)
        sample = lay_out(draft(answer), vocabulary, InterleaveConfig(mode=mode))
        ids = {"text": vocabulary.encode(self.TEXT), "audio": span(ANSWER_CODES, vocabulary)}
        head = header("assistant", vocabulary)
        assert sample.tokens.tolist() == joined(head, *(ids[part] for part in parts), [vocabulary.eot])
        assert [part["type"] for part in sample.record["messages"][0]["content"]] == list(parts)

    def test_the_mode_affects_only_answers_with_both_text_and_speech(self, vocabulary):
        asr = draft(
            Message("human", (Text("Write:\n"), speech(QUESTION_CODES))),
            Message("assistant", (Text("hello"),)),
        )
        whole = lay_out(asr, vocabulary, InterleaveConfig()).tokens.tolist()
        for mode in MODES:
            assert lay_out(asr, vocabulary, InterleaveConfig(mode=mode)).tokens.tolist() == whole


class TestConcatenation:
    """Two spans: four text ids and three groups, then thirteen text ids and four groups."""

    FIRST, SECOND = "so it goes on", " one two three four five six seven eight nine ten eleven twelve now"
    A, B = groups(3), groups(4)

    def laid_out(self, vocabulary, concatenation):
        content = (Text(self.FIRST), speech(self.A), Text(self.SECOND), speech(self.B))
        answer = draft(Message("assistant", content, interleaved=True), family="controlled")
        sample = lay_out(answer, vocabulary, InterleaveConfig(concatenation=concatenation))
        return sample.tokens[len(header("assistant", vocabulary)) : -1].tolist()

    @pytest.fixture
    def ids(self, vocabulary):
        first, second = vocabulary.encode(self.FIRST), vocabulary.encode(self.SECOND)
        assert (len(first), len(second)) == (4, 13)
        return first, second, span(self.A, vocabulary), span(self.B, vocabulary)

    def test_marker_preserving_keeps_the_markers_of_every_audio_span(self, vocabulary, ids):
        first, second, a, b = ids
        assert self.laid_out(vocabulary, "marker_preserving") == joined(
            first, second[:6], a, second[6:], b[:16], b[16:]
        )

    def test_marker_removal_has_one_pair_of_markers_around_all_audio(self, vocabulary, ids):
        first, second, a, b = ids
        assert self.laid_out(vocabulary, "marker_removal") == joined(
            first, second[:6], a[:-1], second[6:], b[1:]
        )

    def test_pre_interleaved_concatenates_interleaved_spans(self, vocabulary, ids):
        first, second, a, b = ids
        assert self.laid_out(vocabulary, "pre_interleaved") == joined(
            first, a, second[:10], b[:16], second[10:], b[16:]
        )


class TestHistory:
    """Earlier turns are text without loss; the oldest are dropped if they exceed the limit."""

    TURNS = (
        Message("system", (Text("Be brief."),)),
        Message("human", (Text("How old is it?"),)),
        Message("assistant", (Text("Ten years."),)),
        Message("human", (Text("And its brother?"),)),
        Message("assistant", (Text("Twelve."),)),
        Message("human", (speech(QUESTION_CODES),)),
        Message("assistant", (Text("Both are well."), speech(ANSWER_CODES)), interleaved=True),
    )

    def roles(self, vocabulary, limit):
        sample = lay_out(draft(*self.TURNS), vocabulary, InterleaveConfig(history_tokens_max=limit))
        messages = read(sample.tokens, vocabulary)
        assert [message["role"] for message in sample.record["messages"]] == [m.role for m in messages]
        last = sample.tokens[len(sample.tokens) - int(sample.loss.sum()) :]
        assert last[0] == vocabulary.encode("Both are well.")[0]
        return [message.role[0] for message in messages]

    def test_loss_is_on_the_last_answer_only_and_the_oldest_turns_are_dropped_first(self, vocabulary):
        tokens = [
            len(header(m.role, vocabulary)) + len(vocabulary.encode(m.content[0].text)) + len(["EOT"])
            for m in self.TURNS[1:5]
        ]
        assert self.roles(vocabulary, sum(tokens)) == list("shahaha")
        assert self.roles(vocabulary, sum(tokens) - 1) == list("shaha")
        assert self.roles(vocabulary, sum(tokens[2:])) == list("shaha")
        assert self.roles(vocabulary, sum(tokens[2:]) - 1) == list("sha")
        assert self.roles(vocabulary, 0) == list("sha")


@given(codes=codes(), linguistic=st.integers(0, 1), semantic=st.integers(0, 2))
def test_codes_beyond_the_last_whole_group_are_dropped(vocabulary, codes, linguistic, semantic):
    more = Codes(codes.linguistic + (5,) * linguistic, codes.semantic + (5,) * semantic)
    sample = lay_out(draft(Message(None, (speech(more),))), vocabulary, InterleaveConfig())
    assert whole_groups(more) == codes
    assert read(sample.tokens, vocabulary)[0].codes == (codes,)
