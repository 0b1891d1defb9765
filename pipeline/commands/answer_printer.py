"""An answer told as it comes: to a person, or as JSON lines to a program."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

import click

from pipeline.commands.arguments import print_json
from pipeline.inference.vocoding import Latency, Sound
from pipeline.inference.wav import WavWriter
from schemas.layout import GROUP_SECONDS, group_count, merged

if TYPE_CHECKING:
    from pipeline.inference.dialogue import Dialogue
    from stages.train.sampling import Answer


@dataclass(frozen=True)
class AnswerPrinter:
    as_json: bool
    tokens: bool
    """A person reads codes too."""
    words: TextIO
    """Where text goes."""

    def tell(self, question: str, dialogue: "Dialogue", out: Path | BinaryIO | None) -> None:
        """Answer a question to its end; the sound goes to `out`, which is begun with the first samples.

        Raises DataError where it can't be answered."""
        from stages.train.sampling import Answer, CodeGroup, TextPiece
        from stages.train.vocoder.shape import RATE

        latency = Latency()
        asked = dialogue.hear(question)
        if self.as_json:
            print_json({"question": question, "seconds": asked.seconds, "groups": asked.groups})
        writer: WavWriter | None = None
        samples = 0
        try:
            for event in dialogue.ask(asked):
                latency.saw(event)
                match event:
                    case TextPiece(text):
                        self._piece({"text": text}, text)
                    case CodeGroup(codes, voice) if self.as_json or self.tokens:
                        numbers = "".join(f"<audio_{n}>" for n in merged(codes).tolist())
                        self._piece({"codes": vars(codes), "voice": voice}, numbers)
                    case Sound():
                        assert out is not None
                        writer = writer or WavWriter(out, RATE)
                        writer.write(event.samples)
                        samples += len(event.samples)
                    case Answer():
                        answer = event
        finally:
            if writer is not None:
                writer.close()
        spoken = {"sound": {"file": str(out), "rate": RATE, "samples": samples}} if writer else {}
        if self.as_json:
            print_json(_whole(answer) | spoken | {"latency": latency.as_json()})
        else:
            click.echo(file=self.words)
            click.echo(f"{_said(answer)}; {latency}", err=True)

    def _piece(self, row: dict[str, Any], said: str) -> None:
        if self.as_json:
            print_json(row)
            sys.stdout.flush()
        else:
            self.words.write(said)
            self.words.flush()


def _whole(answer: "Answer") -> dict[str, Any]:
    voices = [vars(codes) for codes in answer.voices]
    return {"reason": answer.reason, "text": answer.text, "voices": voices, "ids": answer.ids.tolist()}


_REASONS = {
    "end": "ended by itself",
    "length": "brought to its end at the most tokens",
    "text_loop": "stopped: its text went round in circles",
    "audio_loop": "stopped: its codes went round in circles",
}


def _said(answer: "Answer") -> str:
    groups = sum(map(group_count, answer.voices))
    return f"{len(answer.ids)} tokens, {groups * GROUP_SECONDS:.2f} s of speech; {_REASONS[answer.reason]}"
