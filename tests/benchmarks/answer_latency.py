"""CPU seconds from a question to the first text, the first audio and the end of its answer, and peak memory.

    OMP_NUM_THREADS=1 python tests/benchmarks/answer_latency.py {tiny,small} QUESTION.wav

The backbone and the vocoder have the preset's size and random weights, which cost the same as trained ones.
Time is CPU time of this process on one core, so other load on the machine matters little.
"""

import argparse
import resource
import time
from dataclasses import replace
from pathlib import Path

import torch

from pipeline.inference.answer_vocoder import AnswerVocoder, AudioChunk
from pipeline.inference.answerer import Answerer
from pipeline.inference.dialogue import Dialogue
from pipeline.inference.tokenize_files import config_of
from pipeline.models import resolve
from schemas.vocabulary import Vocabulary
from stages.tokenize import load_tokenizer
from stages.train.grammar import Form
from stages.train.model import Step1
from stages.train.sampling import Sampling, TextPiece
from stages.train.shape import PRESETS as BACKBONES
from stages.train.vocoder.shape import PRESETS as VOCODERS
from stages.train.vocoder.shape import RATE
from stages.train.vocoder.vocoder import Vocoder

TOKENS = 200


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("preset", choices=("tiny", "small"))
    parser.add_argument("question")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = config_of("whisper")
    tokenizer = load_tokenizer(config, {name: resolve(name).path for name in config.models})
    vocabulary = Vocabulary.of("embedded", resolve("package:whisper-base").path)
    model = Step1(BACKBONES[arguments.preset].with_vocabulary(vocabulary.size)).eval().requires_grad_(False)
    model.initialise(seed=1)
    vocoder = AnswerVocoder(Vocoder.of(VOCODERS[arguments.preset]).eval(), True, Path(), {})
    answerer = Answerer(model, vocabulary, tokenizer, Form(), {})
    dialogue = Dialogue(answerer, Form(), Sampling(max_tokens=20), vocoder)
    list(dialogue.ask(dialogue.tokenize(arguments.question)))  # warm up
    for stream in (True, False):
        answer_vocoder = replace(vocoder, stream=stream)
        dialogue = Dialogue(answerer, Form(), Sampling(max_tokens=TOKENS), answer_vocoder)
        began = time.process_time()
        first: dict[object, float] = {}
        question = dialogue.tokenize(arguments.question)
        first["tokenized"] = time.process_time() - began
        samples = 0
        for event in dialogue.ask(question):
            first.setdefault(type(event), time.process_time() - began)
            samples += len(event.samples) if isinstance(event, AudioChunk) else 0
        mode = "streamed" if stream else "whole"
        print(
            f"{arguments.preset}, {mode}: question of {question.seconds:.1f} s "
            f"tokenized {first['tokenized']:.2f}, "
            f"first text {first[TextPiece]:.2f}, first audio {first[AudioChunk]:.2f}, "
            f"total {time.process_time() - began:.2f} s for {samples / RATE:.2f} s of speech"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
