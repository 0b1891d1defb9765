"""`aqaa-data answer`"""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from pipeline.commands.arguments import (
    checkpoint_of,
    checkpoint_options,
    endpoint_of,
    endpoint_options,
    print_json,
    tensor_parallel_option,
    voice_option,
)
from schemas.errors import DataError
from schemas.layout import check_ratio

if TYPE_CHECKING:
    from pipeline.inference.candidates import CandidateAudio
    from stages.train.grammar import Mode

MODES = ("interleaved", "text_first", "audio_only", "text_only")
STDOUT = Path("-")


class RatioType(click.ParamType):
    """A ratio of text tokens to audio codes, as a tuple."""

    name = "N:M"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        match = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", str(value))
        if not match:
            self.fail(f"{value!r} is not a ratio such as 10:15", param, ctx)
        try:
            return check_ratio((int(match[1]), int(match[2])))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(
    epilog="Examples: aqaa-data answer --demo question.wav -o answer.wav, "
    "aqaa-data answer --checkpoint runs/merged question.wav -o answer.wav --stream"
)
@click.argument("questions", metavar="QUESTION..", nargs=-1, required=True)
@checkpoint_options
@endpoint_options
@tensor_parallel_option
@click.option(
    "-o",
    "--output",
    metavar="WAV|FOLDER|-",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Write the spoken answer (22.05 kHz WAV) to a file, a folder for several questions, or stdout (-).",
)
@click.option(
    "--vocoder",
    type=click.Path(path_type=Path),
    help="Folder of a vocoder to use instead of the bundled one.",
)
@voice_option
@click.option(
    "--stream", is_flag=True, help="Synthesize speech while the answer is generated; the WAV file grows."
)
@click.option("--text", "in_text", is_flag=True, help="Without -o: answer in text only.")
@click.option("--tokens-only", is_flag=True, help="Text and codes of the answer, without audio.")
@click.option(
    "--history",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON lines of earlier turns to continue from; each question and answer is appended.",
)
@click.option("--system", metavar="TEXT", help="System prompt.")
@click.option("--mode", type=click.Choice(MODES), help="Order of text and speech.  [default: as trained]")
@click.option(
    "--ratio",
    type=RatioType(),
    help="Text tokens to audio codes in an interleaved answer.  [default: as trained]",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    default=0.7,
    show_default=True,
    help="Sampling temperature; 0 always takes the most likely token.",
)
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.9,
    show_default=True,
    help="Sample from the most likely tokens that together have this probability.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the sampling.")
@click.option(
    "--repetition-rule",
    is_flag=True,
    help="Don't repeat a token that is more than a tenth of the last ten (Step-Audio-TTS-3B).",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    default=4096,
    show_default=True,
    help="End the answer after this many tokens.",
)
@click.option(
    "--candidates",
    type=click.IntRange(2),
    metavar="N",
    help="Sample N answers to each question, with the seeds --seed, --seed + 1 and so on.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="New file for the candidates, as JSON lines.",
)
@click.option(
    "--tokenizer",
    metavar="REF",
    help="Speech tokenizer to use instead of the checkpoint's.",
)
@click.option("--vocabulary", metavar="REF", help="Text tokenizer to use instead of the checkpoint's.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines on stdout.")
def answer(
    questions: tuple[str, ...],
    checkpoint: Path | None,
    demo: bool,
    endpoint: str | None,
    endpoint_key_file: Path | None,
    tensor_parallel: int,
    output: Path | None,
    vocoder: Path | None,
    voice: Path | None,
    stream: bool,
    in_text: bool,
    tokens_only: bool,
    history: Path | None,
    system: str | None,
    mode: "Mode | None",
    ratio: tuple[int, int] | None,
    temperature: float,
    top_p: float,
    seed: int,
    max_tokens: int,
    repetition_rule: bool,
    candidates: int | None,
    out: Path | None,
    tokenizer: str | None,
    vocabulary: str | None,
    as_json: bool,
) -> None:
    """Answer spoken questions: in speech (-o), in text only (--text), or in text and audio tokens
    (--tokens-only). Text is printed as it is generated; the latency of the first audio and of the
    complete answer is printed to stderr.

    With --json each line is `{question}`, `{text}`, `{codes, voice}` or, at the end, `{reason, text, voices,
    ids, sound, latency}`; reason is `end`, `length`, `text_loop` or `audio_loop`, and latency is in seconds
    since the question. With `-o -` text goes to stderr. --candidates with --out writes one line per question
    with its answers, in the format of `preferences: {candidates: [..]}` of a recipe, many at a time; with
    -o FOLDER their audio is written there for raters (`aqaa-data rate`). For candidates and --history the
    text of a question is read from `text` of its sidecar (question.wav.json); candidates without one are
    transcribed.
    """
    _check(output, in_text, tokens_only, candidates, out, stream, vocoder or voice, history, as_json)
    folder = checkpoint_of(checkpoint, demo)
    model_endpoint = endpoint_of(endpoint, endpoint_key_file, tensor_parallel)
    outputs = _outputs(questions, output) if output and not candidates else {}
    audio = _candidate_audio(output, out, questions) if output and candidates and out else None

    from pipeline.commands.answer_printer import AnswerPrinter
    from pipeline.inference.answer_vocoder import open_answer_vocoder
    from pipeline.inference.candidates import sample_candidates
    from pipeline.inference.conversation import History
    from pipeline.inference.dialogue import Dialogue
    from pipeline.inference.remote_answerer import open_answerer_at
    from stages.train.sampling import Sampling

    conversation = History.read(history) if history else None
    answer_vocoder = open_answer_vocoder(vocoder, stream, voice is not None) if output else None
    answerer = open_answerer_at(model_endpoint, folder, tokenizer, vocabulary, tensor_parallel)
    if answerer.note:
        click.echo(answerer.note, err=True)
    if answer_vocoder:
        answer_vocoder.check(answerer.models, answerer.tokenizer)
    if answer_vocoder and voice:
        answer_vocoder = answer_vocoder.with_voice(voice, answerer.tokenizer, answerer.models)
    mode = mode or ("text_only" if in_text and not output else answerer.form.mode)
    form = replace(answerer.form, mode=mode, ratio=ratio or answerer.form.ratio)
    sampling = Sampling(temperature, top_p, seed, max_tokens, repetition_rule)
    if candidates is not None and mode == "audio_only":
        raise click.UsageError("candidates are compared by their text, and audio_only answers have none")
    if output is not None and mode == "text_only":
        raise click.UsageError("text_only answers have no audio: use --text instead of -o")
    dialogue = Dialogue(answerer, form, sampling, answer_vocoder, system, conversation)
    printer = AnswerPrinter(as_json, tokens_only, text_output=sys.stderr if output == STDOUT else sys.stdout)
    failed = 0

    def refuse(question: str, error: DataError) -> None:
        nonlocal failed
        failed += 1
        click.echo(f"{question}: {error}", err=True)

    if candidates is None or out is None:
        for question in questions:
            try:
                printer.print(question, dialogue, outputs.get(question))
            except DataError as error:
                refuse(question, error)
    else:
        samplings = [replace(sampling, seed=seed + n) for n in range(candidates)]
        settings = {name: value for name, value in vars(sampling).items() if name != "seed"}
        about = {"checkpoint": str(folder), "sampling": settings}
        with out.open("x", encoding="utf-8") as file:
            for row in sample_candidates(dialogue, questions, samplings, about, audio, refuse):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                click.echo(f"{row['id']}: {len(row['answers'])} answers", err=True)
    if out is not None and as_json:
        print_json({"out": str(out), "questions": len(questions), "rows": len(questions) - failed})
    if failed:
        click.echo(f"{failed} of {len(questions)} questions could not be answered", err=True)
        sys.exit(1)


def _check(
    output: Path | None,
    in_text: bool,
    tokens_only: bool,
    candidates: int | None,
    out: Path | None,
    stream: bool,
    vocoder: Path | None,
    history: Path | None,
    as_json: bool,
) -> None:
    """Raises UsageError for options that can't be combined."""
    if not (output or in_text or tokens_only or candidates):
        raise click.UsageError("choose the form of the answer: -o WAV, --text, --tokens-only or --candidates")
    if tokens_only and (output or in_text):
        raise click.UsageError("--tokens-only produces no audio and is not --text: leave out the others")
    if candidates and in_text:
        raise click.UsageError("--candidates have the checkpoint's form, or that of --mode: leave out --text")
    if candidates and (stream or output == STDOUT):
        raise click.UsageError("the audio of candidates goes to a folder: use -o FOLDER, without --stream")
    if (stream or vocoder) and not output:
        raise click.UsageError("--stream, --vocoder and --voice apply to audio: name its file with -o")
    if output == STDOUT and as_json:
        raise click.UsageError("-o - and --json would both write to stdout: name a file with -o")
    if candidates and history:
        raise click.UsageError("--candidates answers each question by itself: leave out --history")
    if (candidates is None) != (out is None):
        raise click.UsageError("--candidates and --out must be given together")
    if out is not None and (out.exists() or not out.parent.is_dir()):
        problem = f"{out} already exists" if out.exists() else f"the folder of {out} doesn't exist"
        raise click.UsageError(f"{problem}: name a new file")


def _outputs(questions: tuple[str, ...], output: Path) -> "dict[str, Path | BinaryIO]":
    """Question -> where to write the audio of its answer. Raises UsageError if that can't be written."""
    if output == STDOUT:
        if sys.stdout.isatty():
            raise click.UsageError("-o - writes audio, which a terminal can't show: pipe it to a player")
        if len(questions) > 1:
            raise click.UsageError("-o - takes one answer: name a folder for several questions")
        return {questions[0]: sys.stdout.buffer}
    if len(questions) == 1 and not output.is_dir():
        if not output.parent.is_dir():
            raise click.UsageError(f"the folder of {output} doesn't exist")
        files = {questions[0]: output}
    else:
        if output.exists() and not output.is_dir():
            raise click.UsageError(f"{output} is a file: name a folder for several questions")
        files = {question: output / f"{Path(question).stem}.wav" for question in questions}
        if len(set(files.values())) < len(questions):
            raise click.UsageError(
                f"two questions have the same name: their answers can't both go to {output}"
            )
        output.mkdir(parents=True, exist_ok=True)
    for file in files.values():
        if any(
            file.exists() and Path(question).exists() and file.samefile(question) for question in questions
        ):
            raise click.UsageError(f"{file} is a question: its answer would overwrite it")
    return dict(files)


def _candidate_audio(output: Path, out: Path, questions: tuple[str, ...]) -> "CandidateAudio":
    """Raises UsageError if the audio can't be named by the rows, or would overwrite some other."""
    from pipeline.inference.candidates import CandidateAudio

    folder, rows = output.resolve(), out.resolve().parent
    if not folder.is_relative_to(rows):
        raise click.UsageError(f"{output} is not in the folder of {out}: their rows name audio beside them")
    if folder.exists() and not folder.is_dir():
        raise click.UsageError(f"{output} is a file: name a folder for the audio of candidates")
    if len({Path(question).stem for question in questions}) < len(questions):
        raise click.UsageError(f"two questions have the same name: their audio can't both go to {output}")
    folder.mkdir(parents=True, exist_ok=True)
    return CandidateAudio(folder, rows)
