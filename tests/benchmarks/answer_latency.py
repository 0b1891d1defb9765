"""CPU seconds from a question to the first text, the first sound and the end of its answer, and memory.

    OMP_NUM_THREADS=1 python tests/benchmarks/answer_latency.py {tiny,small} QUESTION.wav

Backbone and vocoder of a preset with random weights: what they say costs nothing else. Time is the process's
own on one core, so that others on the machine count little.
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
    asked = parser.parse_args()
    torch.set_num_threads(1)
    config = config_of("whisper")
    tokenizer = load_tokenizer(config, {name: resolve(name).path for name in config.models})
    vocabulary = Vocabulary.of("embedded", resolve("package:whisper-base").path)
    model = Step1(BACKBONES[asked.preset].with_vocabulary(vocabulary.size)).eval().requires_grad_(False)
    model.initialise(seed=1)
    voice = AnswerVocoder(Vocoder.of(VOCODERS[asked.preset]).eval(), True, Path(), {})
    answerer = Answerer(model, vocabulary, tokenizer, Form(), {})
    dialogue = Dialogue(answerer, Form(), Sampling(max_tokens=20), voice)
    list(dialogue.ask(dialogue.hear(asked.question)))  # what is done once
    for stream in (True, False):
        voices = replace(voice, stream=stream)
        dialogue = Dialogue(answerer, Form(), Sampling(max_tokens=TOKENS), voices)
        began = time.process_time()
        first: dict[object, float] = {}
        heard = dialogue.hear(asked.question)
        first["understood"] = time.process_time() - began
        spoken = 0
        for event in dialogue.ask(heard):
            first.setdefault(type(event), time.process_time() - began)
            spoken += len(event.samples) if isinstance(event, AudioChunk) else 0
        way = "streamed" if stream else "whole"
        print(
            f"{asked.preset}, {way}: question of {heard.seconds:.1f} s understood {first['understood']:.2f}, "
            f"first text {first[TextPiece]:.2f}, first sound {first[AudioChunk]:.2f}, "
            f"total {time.process_time() - began:.2f} s for {spoken / RATE:.2f} s of speech"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
