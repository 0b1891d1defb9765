"""Fits the text tokenizer of the talk recipe to its own dialogues: a small model needs small embeddings.

    python -m tests.benchmarks.fit_talk_tokenizer stages/synthesize/talk/tokenizer.json

The vocabulary is byte-level, so any text can be written; words of the closed world are one token or two. Put
the hash that the test of the packaged models reports into `pipeline/models.py`.
"""

import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from stages.compose import instructions
from stages.synthesize.talk import training_dialogues

SIZE = 1536
DIALOGUES = 20_000
INSTRUCTION_COPIES = 20
"""So that instructions, of which there are few, become whole words too."""


def fitted() -> Tokenizer:
    texts = [
        text
        for dialogue in training_dialogues(DIALOGUES)
        for exchange in dialogue.exchanges
        for text in (exchange.question, exchange.answer)
    ]
    texts += INSTRUCTION_COPIES * [*instructions.ASR["en"], *instructions.TTS["en"]]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


if __name__ == "__main__":
    fitted().save(sys.argv[1], pretty=False)
