"""`--demo`: the model that comes with the package, in place of `--checkpoint`."""

from dataclasses import replace

import pytest

from pipeline.models import PACKAGED, resolve
from tests.pipeline.tiny_models import QUESTION

ASKED = ("--tokens-only", QUESTION, "--json", "--max-tokens", 20)


@pytest.fixture
def carried(tiny_checkpoint, monkeypatch):
    """A build that carries a talk model: the tiny checkpoint."""
    entry = replace(
        PACKAGED["talk"], path=str(tiny_checkpoint), sha256=resolve(f"file:{tiny_checkpoint}").sha256
    )
    monkeypatch.setitem(PACKAGED, "talk", entry)


@pytest.mark.usefixtures("carried")
def test_the_demonstration_answers_as_its_folder_does(command, tiny_checkpoint):
    demo = command("answer", "--demo", *ASKED)
    assert demo.code == 0, demo.stderr
    named = command("answer", "--checkpoint", tiny_checkpoint, *ASKED)
    # The latencies at the end of the last line are of each run.
    assert demo.stdout.partition('"latency"')[0] == named.stdout.partition('"latency"')[0]


@pytest.mark.parametrize("asking", [("answer", *ASKED), ("serve", "--port", 0)])
def test_a_build_without_the_model_says_what_to_do(command, monkeypatch, tmp_path, asking):
    monkeypatch.setitem(PACKAGED, "talk", replace(PACKAGED["talk"], path=str(tmp_path / "none")))
    refused = command(asking[0], "--demo", *asking[1:])
    assert refused.code == 1
    assert "carries no talk model: train one" in refused.stderr


@pytest.mark.parametrize("model", [(), ("--demo", "--checkpoint", "runs/talk")])
def test_a_model_is_named_once(command, model):
    refused = command("answer", *model, *ASKED)
    assert refused.code == 2
    assert "--demo" in refused.stderr
