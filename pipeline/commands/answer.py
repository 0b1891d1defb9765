"""`aqaa-data answer`"""

import json
import re
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.arguments import print_json
from schemas.errors import DataError

if TYPE_CHECKING:
    from pipeline.answering import Answerer
    from stages.train.grammar import Form, Mode
    from stages.train.sampling import Answer, Sampling

MODES = ("interleaved", "text_first", "audio_only", "text_only")


class RatioType(click.ParamType):
    """Text ids to codes."""

    name = "N:M"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", str(value))
        if not found:
            self.fail(f"{value!r} is no ratio such as 10:15", param, ctx)
        return int(found[1]), int(found[2])


@click.command(epilog="Example: aqaa-data answer --checkpoint runs/merged --tokens-only question.wav")
@click.argument("questions", metavar="QUESTION..", nargs=-1, required=True)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), required=True, help="Folder of a trained model."
)
@click.option("--tokens-only", is_flag=True, help="Text and codes of the answer, without its sound.")
@click.option("--system", metavar="TEXT", help="System prompt.")
@click.option("--mode", type=click.Choice(MODES), help="Order of text and speech, if not as trained.")
@click.option("--ratio", type=RatioType(), help="Text ids to codes in turns, if not as trained.")
@click.option(
    "--temperature", type=click.FloatRange(0), default=0.7, show_default=True, help="0: always the likeliest."
)
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.9,
    show_default=True,
    help="Draw among the likeliest ids with this much probability together.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draws.")
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    default=4096,
    show_default=True,
    help="Bring the answer to its end after so many.",
)
@click.option(
    "--candidates",
    type=click.IntRange(2),
    metavar="N",
    help="Answers to each question, of N seeds from --seed on.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON lines of candidates, a new file."
)
@click.option(
    "--tokenizer", metavar="REF", help="Speech tokenizer, if not the one that the checkpoint names."
)
@click.option("--vocabulary", metavar="REF", help="Text tokenizer, if not the one that the checkpoint names.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines on stdout.")
def answer(
    questions: tuple[str, ...],
    checkpoint: Path,
    tokens_only: bool,
    system: str | None,
    mode: "Mode | None",
    ratio: tuple[int, int] | None,
    temperature: float,
    top_p: float,
    seed: int,
    max_tokens: int,
    candidates: int | None,
    out: Path | None,
    tokenizer: str | None,
    vocabulary: str | None,
    as_json: bool,
) -> None:
    """Answer spoken questions, in text and audio tokens that are written as they come.

    With --json each line is `{question}`, `{text}`, `{codes, voice}` or, at the end, `{reason, text, voices,
    ids}`; reason is `end`, `length`, `text_loop` or `audio_loop`. With --candidates and --out a line for each
    question holds its answers, as `prefer: {candidates: [..]}` of a recipe reads them; what is asked comes
    from the `text` of the question's sidecar (question.wav.json), or by listening.
    """
    if not tokens_only and not candidates:
        raise click.UsageError("the sound of an answer can't be made yet: add --tokens-only")
    if (candidates is None) != (out is None):
        raise click.UsageError("--candidates and --out go together")
    if out is not None and (out.exists() or not out.parent.is_dir()):
        why = "is there already" if out.exists() else "is in no folder that there is"
        raise click.UsageError(f"{out} {why}: name a new file")

    from pipeline.answering import open_answerer
    from stages.train.sampling import Sampling

    answerer = open_answerer(checkpoint, tokenizer, vocabulary)
    form = replace(answerer.form, mode=mode or answerer.form.mode, ratio=ratio or answerer.form.ratio)
    sampling = Sampling(temperature, top_p, seed, max_tokens)
    if candidates is not None and form.mode == "audio_only":
        raise click.UsageError("candidates are compared by their words, and audio_only answers have none")
    failed = 0
    with out.open("x", encoding="utf-8") if out is not None else nullcontext() as file:
        for question in questions:
            try:
                if candidates is None or file is None:
                    _stream(answerer, question, system, form, sampling, as_json)
                else:
                    samplings = [replace(sampling, seed=seed + n) for n in range(candidates)]
                    row = _candidates(answerer, question, system, form, samplings, str(checkpoint))
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    file.flush()
                    click.echo(f"{question}: {len(row['answers'])} answers", err=True)
            except DataError as error:
                failed += 1
                click.echo(f"{question}: {error}", err=True)
    if out is not None and as_json:
        print_json({"out": str(out), "questions": len(questions), "rows": len(questions) - failed})
    if failed:
        click.echo(f"{failed} of {len(questions)} questions could not be answered", err=True)
        sys.exit(1)


def _stream(
    answerer: "Answerer", question: str, system: str | None, form: "Form", sampling: "Sampling", as_json: bool
) -> None:
    from pipeline.answering import tokenized
    from schemas.layout import merged
    from stages.train.sampling import Answer, CodeGroup, TextPiece

    asked = tokenized(answerer, question)
    if as_json:
        print_json({"question": question, "seconds": asked.seconds, "groups": len(asked.ids) // 5})
    for event in answerer.answer(answerer.prompt(asked.codes, system), form, sampling):
        match event:
            case TextPiece(text):
                print_json({"text": text}) if as_json else click.echo(text, nl=False)
            case CodeGroup(codes, voice):
                if as_json:
                    print_json({"codes": vars(codes), "voice": voice})
                else:
                    click.echo("".join(f"<audio_{n}>" for n in merged(codes).tolist()), nl=False)
            case Answer():
                if as_json:
                    print_json(_whole(event))
                else:
                    click.echo()
                    click.echo(_said(event), err=True)
        sys.stdout.flush()


def _candidates(
    answerer: "Answerer",
    question: str,
    system: str | None,
    form: "Form",
    samplings: "list[Sampling]",
    checkpoint: str,
) -> dict[str, Any]:
    from pipeline.answering import tokenized
    from pipeline.candidates import row_of, words_of

    asked = tokenized(answerer, question)
    text, language = words_of(question)
    found = answerer.candidates(answerer.prompt(asked.codes, system), form, samplings)
    drawn = {name: value for name, value in vars(samplings[0]).items() if name != "seed"}
    about = {"language": language, "checkpoint": checkpoint, "sampling": drawn}
    return row_of(asked, text, system, found, about)


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
    groups = sum(len(codes.linguistic) for codes in answer.voices) // 2
    return f"{len(answer.ids)} tokens, {groups * 0.12:.2f} s of speech; {_REASONS[answer.reason]}"
