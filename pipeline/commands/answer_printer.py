"""Prints an answer while it is generated: for a person, or as JSON lines."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

import click

from pipeline.commands.arguments import print_json
from pipeline.inference.answer_vocoder import AudioChunk
from pipeline.inference.latency import Latency
from pipeline.inference.wav import WavWriter
from schemas.layout import GROUP_SECONDS, group_count, merged

if TYPE_CHECKING:
    from pipeline.inference.dialogue import Dialogue
    from stages.train.sampling import Answer


@dataclass(frozen=True)
class AnswerPrinter:
    as_json: bool
    codes: bool
    """Print codes too when not in JSON."""
    text_output: TextIO

    def print(self, question: str, dialogue: "Dialogue", out: Path | BinaryIO | None) -> None:
        """Answer a question; the audio goes to `out`, which is created with the first samples.

        Raises DataError if it can't be answered.
        """
        from stages.train.sampling import Answer, CodeGroup, TextPiece
        from stages.train.vocoder.shape import RATE

        latency = Latency()
        tokenized = dialogue.tokenize(question)
        if self.as_json:
            print_json({"question": question, "seconds": tokenized.seconds, "groups": tokenized.groups})
        writer: WavWriter | None = None
        samples = 0
        try:
            for event in dialogue.ask(tokenized):
                latency.record(event)
                match event:
                    case TextPiece(text):
                        self._piece({"text": text}, text)
                    case CodeGroup(codes, voice) if self.as_json or self.codes:
                        numbers = "".join(f"<audio_{n}>" for n in merged(codes).tolist())
                        self._piece({"codes": vars(codes), "voice": voice}, numbers)
                    case AudioChunk():
                        assert out is not None
                        writer = writer or WavWriter(out, RATE)
                        writer.write(event.samples)
                        samples += len(event.samples)
                    case Answer():
                        answer = event
        finally:
            if writer is not None:
                writer.close()
        sound = {"sound": {"file": str(out), "rate": RATE, "samples": samples}} if writer else {}
        if self.as_json:
            print_json(_as_json(answer) | sound | {"latency": latency.as_json()})
        else:
            click.echo(file=self.text_output)
            click.echo(f"{_summary(answer)}; {latency}", err=True)

    def _piece(self, row: dict[str, Any], text: str) -> None:
        if self.as_json:
            print_json(row)
            sys.stdout.flush()
        else:
            self.text_output.write(text)
            self.text_output.flush()


def _as_json(answer: "Answer") -> dict[str, Any]:
    voices = [vars(codes) for codes in answer.voices]
    return {"reason": answer.reason, "text": answer.text, "voices": voices, "ids": answer.ids.tolist()}


_REASONS = {
    "end": "complete",
    "length": "ended at the limit of tokens",
    "text_loop": "stopped: its text repeated itself",
    "audio_loop": "stopped: its codes repeated themselves",
}


def _summary(answer: "Answer") -> str:
    groups = sum(map(group_count, answer.voices))
    return f"{len(answer.ids)} tokens, {groups * GROUP_SECONDS:.2f} s of speech; {_REASONS[answer.reason]}"
