"""An early and a late checkpoint of one training: served, asked and judged over real sockets."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from pipeline.evaluation.answers.voices import PackagedVoices
from pipeline.inference.conversation import PromptMessage, prompt
from pipeline.inference.tokenize_files import config_of, tokenize_file
from pipeline.models import resolve
from stages.tokenize import load_tokenizer
from stages.train.checkpoint import save
from stages.train.model import Step1
from stages.train.shape import PRESETS
from tests.pipeline.tiny_models import RECIPE, SPEECH, described_ids
from tests.served import completion, serving

PROGRAM = Path(sys.executable).with_name("aqaa-data")
RIGHT = {
    "What is two plus three?": "It is five.",
    "Which city is the capital of France?": "It is Paris.",
    "How do you say thank you in French?": "You say merci.",
}
WORDS = ("five", "Paris", "merci")
STEPS = 150


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, vocabulary):
    """Folders of a tiny model after two steps of learning the answers by heart, and after all."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("training")
    config = config_of(SPEECH)
    tokenizer = load_tokenizer(config, {name: resolve(name).path for name in config.models})
    sequences = []
    for number, (question, answer) in enumerate(RIGHT.items()):
        file = folder / f"{number}.wav"
        file.write_bytes(PackagedVoices().question(question, f"row{number}"))
        asked = prompt([PromptMessage("human", (tokenize_file(str(file), tokenizer).codes,))], vocabulary)
        sequences.append((asked.tolist(), [*vocabulary.encode(answer).tolist(), vocabulary.eot]))
    model = Step1(PRESETS["tiny"].with_vocabulary(vocabulary.size))
    model.initialise(seed=1)
    described = described_ids(vocabulary, RECIPE)
    described["made_by"]["interleave"]["mode"] = "text_only"
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for step in range(STEPS):
        for asked, answer in sequences:
            tokens = torch.tensor([asked + answer])
            at = torch.arange(len(asked) - 1, tokens.shape[1] - 1)
            loss = model.losses(tokens, torch.zeros_like(tokens), at, torch.tensor(answer)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if step in (1, STEPS - 1):
            save(model, folder / ("early" if step == 1 else "late") / "model", described)
    return folder / "early" / "model", folder / "late" / "model"


@contextmanager
def served(checkpoint, vocoder):
    """The address of `aqaa-data serve` with a checkpoint."""
    command = [PROGRAM, "serve", "--checkpoint", checkpoint, "--vocoder", vocoder, "--port", "0", "--json"]
    command += ["--name", checkpoint.parent.name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait()


def judge(request):
    """Likes the answer that has the right word of its question."""
    shown = request["body"]["messages"][1]["content"].splitlines()
    asked = next(line.removeprefix("person: ") for line in shown if line.startswith("person: "))
    word = WORDS[list(RIGHT).index(asked)]

    def right(side):
        return any(word in line for line in shown if line.startswith(f"{side}, written"))

    if any(line.startswith("A, written") for line in shown):
        a, b = right("A"), right("B")
        return completion(json.dumps({"better": "tie" if a == b else "A" if a else "B", "reason": ""}))
    yes = "yes" if right("assistant") else "no"
    grades = {"chat": 5 if yes == "yes" else 1, "naturalness": 3, "reason": "by its words"}
    questions = dict.fromkeys(("relevance", "factuality", "instruction_following"), yes)
    return completion(json.dumps(grades | questions | {"safety": "yes"}))


@pytest.mark.slow
def test_the_later_checkpoint_wins(checkpoints, vocoder, tmp_path):
    early, late = checkpoints
    bench = tmp_path / "bench.jsonl"
    rows = [
        {
            "id": f"row{number}",
            "dimension": "language_ability",
            "turns": [{"text": question}],
            "checks": [{"kind": "contains", "any": [WORDS[number]]}],
        }
        for number, question in enumerate(RIGHT)
    ]
    bench.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    out = tmp_path / "out"
    with served(early, vocoder) as first, served(late, vocoder) as second, serving(judge) as asked:
        models = ["--model", f"{first}/v1", "--model", f"{second}/v1", "--model", late, "--vocoder", vocoder]
        command = [PROGRAM, "evaluate", "answers", "--benchmark", bench, *models, "--out", out, "--json"]
        command += ["--judge", f"{asked.url}#words", "--temperature", "0", "--max-tokens", "40"]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    by_early, by_late, at_once = results["models"].values()
    assert [each["answered"] for each in (by_early, by_late, at_once)] == [3, 3, 3]
    # The early one says the same to everything, which may be right once.
    assert by_early["overall"]["rules"]["value"] < 0.4
    assert by_late["overall"]["rules"]["value"] == at_once["overall"]["rules"]["value"] == 1
    assert by_early["overall"]["chat"]["value"] < 2.5 < by_late["overall"]["chat"]["value"] == 5
    judged = next(each for each in results["comparisons"] if each["by"] == "judge")
    assert judged["losses"] >= 2
    assert judged["win_rate"]["value"] < 0.2
    assert (judged["wins"], judged["contradictions"]) == (0, 0)
    # The model card of the checkpoint that is here names the evaluation.
    card = (late / "README.md").read_text()
    assert "bench.jsonl@" in card
    assert out.resolve().as_uri() in card
