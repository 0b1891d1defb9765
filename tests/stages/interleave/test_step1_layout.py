"""The layout of the public Step-Audio models, by ids that were written down by hand.

Ids of words are SentencePiece's for `step1_tokenizer`. <0x0A> is 15: five symbols, then bytes.
"""

import pytest

from schemas.layout import ReadMessage, read
from schemas.recording import Codes
from schemas.sample import Clip, Draft, Message, Speech, Text
from schemas.vocabulary import LayoutOptions, Vocabulary
from stages.interleave import InterleaveConfig, lay_out

BOS, EOT, BOT = [1], [3], [4]
SYSTEM, HUMAN, ASSISTANT = [40988, 15222, 15], [6540, 6448, 6997, 15], [6577, 19754, 6574, 20370, 15]
YOU_ARE_A_HELPFUL_ASSISTANT = [317, 7051, 34473, 6577, 17786, 18678, 6562, 6577, 19754, 6574, 20370, 274]
THE_INN, AND_SO = [26262, 37310], [19996, 26259]
QUESTION = Codes((1, 2), (5, 6, 7))
QUESTION_IDS = [65537, 65538, 66565, 66566, 66567]
ANSWER = Codes((0, 1023, 3, 4), (0, 1, 4095, 2, 3, 4))
ANSWER_IDS = [65536, 66559, 66560, 66561, 70655, 65539, 65540, 66562, 66563, 66564]

BEFORE = [
    *(*BOS, *BOT, *SYSTEM, *YOU_ARE_A_HELPFUL_ASSISTANT, *EOT),
    *(*BOT, *HUMAN, *THE_INN, *EOT),
    *(*BOT, *ASSISTANT, *AND_SO, *EOT),
]


@pytest.fixture(scope="module")
def bare(step1_tokenizer):
    """As in Step-Audio-Chat."""
    options = LayoutOptions(True, False, True, "You are a helpful assistant.")
    return Vocabulary.of("step1", step1_tokenizer, options)


def speech(codes):
    return Speech(codes, Clip("calls/one.wav", 0, 1.0, 2.0), turn=0, speaker="A", text=None)


def three_turns():
    messages = (
        Message("human", (Text("the inn"),)),
        Message("assistant", (Text("and so"),)),
        Message("human", (speech(QUESTION),)),
        Message("assistant", (Text("the inn"), speech(ANSWER)), interleaved=True),
    )
    return Draft("0123456789abcdef-00000-aqtaa", "aqtaa", messages, {"language": "en"})


def test_three_turns_with_audio_have_the_ids_of_the_public_models(bare):
    sample = lay_out(three_turns(), bare, InterleaveConfig(concatenation="marker_removal", ratio=(1, 5)))
    answer = [THE_INN[0], *ANSWER_IDS[:5], THE_INN[1], *ANSWER_IDS[5:], *EOT]
    prompt = [*BEFORE, *BOT, *HUMAN, *QUESTION_IDS, *EOT, *BOT, *ASSISTANT]
    assert sample.tokens.tolist() == [*prompt, *answer]
    assert sample.loss.tolist() == [0] * len(prompt) + [1] * len(answer)
    spans = sample.record["messages"][3]["content"][0]["spans"]
    assert [sample.tokens[start:end].tolist() for start, end in spans] == [QUESTION_IDS]


def test_the_layout_is_read_back(bare):
    sample = lay_out(three_turns(), bare, InterleaveConfig(concatenation="marker_removal", ratio=(1, 5)))
    assert read(sample.tokens, bare) == (
        ReadMessage("system", "You are a helpful assistant.", ()),
        ReadMessage("human", "the inn", ()),
        ReadMessage("assistant", "and so", ()),
        ReadMessage("human", "", (QUESTION,)),
        ReadMessage("assistant", "the inn", (ANSWER,)),
    )
    with pytest.raises(ValueError, match="no BOS"):
        read(sample.tokens[1:], bare)


def test_with_markers_they_stand_around_each_span(step1_tokenizer):
    options = LayoutOptions(chat_bos=True, prefix_newline=True)
    vocabulary = Vocabulary.of("step1", step1_tokenizer, options)
    sample = lay_out(three_turns(), vocabulary, InterleaveConfig())
    question = [*BOT, *HUMAN, 70656, *QUESTION_IDS, 70657, *EOT]
    answer = [*BOT, *ASSISTANT, *THE_INN, 70656, *ANSWER_IDS, 70657, *EOT]
    without_system = [*BOS, *BEFORE[len(BOS + BOT + SYSTEM + YOU_ARE_A_HELPFUL_ASSISTANT + EOT) :]]
    assert sample.tokens.tolist() == [*without_system, *question, *answer]


def test_spans_of_a_document_are_told_by_the_text_between_them(bare):
    message = Message(None, (Text("the inn"), speech(QUESTION), Text("and so"), speech(ANSWER)))
    draft = Draft("0123456789abcdef-00000-interleaved", "interleaved", (message,), {"language": "en"})
    sample = lay_out(draft, bare, InterleaveConfig(concatenation="marker_removal"))
    assert sample.tokens.tolist() == [*BOS, *THE_INN, *QUESTION_IDS, *AND_SO, *ANSWER_IDS, 2]
    assert read(sample.tokens, bare) == (ReadMessage(None, "the innand so", (QUESTION, ANSWER)),)
