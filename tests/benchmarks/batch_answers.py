"""Tokens a second of answers sampled one by one and many at a time, in one run, and whether they agree.

    OMP_NUM_THREADS=1 python tests/benchmarks/batch_answers.py {tiny,talk,small} [--rows N] [--tokens N]

The backbone has the preset's size and random weights, which cost the same as trained ones, with a head that
makes it as sure of the next id as a trained model. Both ways answer the same questions: the one-by-one half
answers only the first few, since each token costs the same. Times are CPU seconds of this process on one
core, so that other load on the machine matters little.
"""

import argparse
import time

import numpy as np
import torch

from pipeline.models import resolve
from schemas.layout import header
from schemas.vocabulary import Vocabulary
from stages.train.backbone import reader_of
from stages.train.batch_sampling import ROWS, Question, answers
from stages.train.grammar import Form
from stages.train.model import Step1
from stages.train.sampling import Answer, Sampling, answer, answered
from stages.train.shape import PRESETS

SURE = 40.0
"""Factor of the head's weights."""
CANDIDATES = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("preset", choices=("tiny", "talk", "small"))
    parser.add_argument("--rows", type=int, default=ROWS, help="answers at a time")
    parser.add_argument("--tokens", type=int, default=100, help="most tokens of an answer")
    parser.add_argument("--alone", type=int, default=1, help="questions that are answered one by one")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    name = "package:talk-tokenizer" if arguments.preset == "talk" else "package:whisper-base"
    vocabulary = Vocabulary.of("embedded", resolve(name).path)
    model = Step1(PRESETS[arguments.preset].with_vocabulary(vocabulary.size)).eval().requires_grad_(False)
    model.initialise(seed=1)
    model.lm_head.weight *= SURE
    questions = [
        question(vocabulary, n, arguments.tokens) for n in range(max(1, arguments.rows // CANDIDATES))
    ]
    one_by_one(model, questions[0].prompt, [Sampling(max_tokens=5)], vocabulary)  # warm up

    began = time.process_time()
    alone = [one_by_one(model, one.prompt, one.samplings, vocabulary) for one in questions[: arguments.alone]]
    slow = rate(alone, time.process_time() - began)
    began = time.process_time()
    together = list(answers(model, questions, vocabulary, Form(), arguments.rows))
    fast = rate(together, time.process_time() - began)
    pairs = [
        pair for one, other in zip(alone, together, strict=False) for pair in zip(one, other, strict=True)
    ]
    same = sum(np.array_equal(one.ids, other.ids) for one, other in pairs)
    print(
        f"{arguments.preset}, {sum(p.numel() for p in model.parameters()) / 1e6:.0f} million parameters, "
        f"{arguments.rows} at a time: one by one {slow:.1f} tokens/s, together {fast:.1f} tokens/s, "
        f"{fast / slow:.1f} times as fast; {same} of {len(pairs)} answers are the same to the last id"
    )


def question(vocabulary: Vocabulary, number: int, tokens: int) -> Question:
    """A prompt of 60 to 100 ids, with several candidates."""
    draws = np.random.default_rng(number)
    codes = vocabulary.linguistic + draws.integers(0, 1024, 60 + number * 5 % 40)
    prompt = np.concatenate([header("human", vocabulary), codes, header("assistant", vocabulary)])
    return Question(prompt, [Sampling(seed=seed, max_tokens=tokens) for seed in range(CANDIDATES)])


def one_by_one(
    model: Step1, prompt: np.ndarray, samplings: list[Sampling], vocabulary: Vocabulary
) -> list[Answer]:
    reader = reader_of(model)
    reader.read(prompt[:-1].tolist())
    return [
        answered(answer(reader.copy(), prompt[-1:], vocabulary, Form(), sampling)) for sampling in samplings
    ]


def rate(found: list[list[Answer]], seconds: float) -> float:
    return sum(len(one.ids) for own in found for one in own) / seconds


if __name__ == "__main__":
    main()
