"""`aqaa-data inspect --set-aside`: what was set aside, reason by reason, to read and to listen to."""

from pathlib import Path
from typing import Any

from rich.markup import escape

from pipeline.commands.arguments import print_json, wide_console
from pipeline.inputs.spooled_audio import SpooledAudio, scratch_folder
from pipeline.report.facts import Reason, reasons
from pipeline.report.recording_audio import RecordingAudio
from pipeline.report.rejected import RejectedClip, choose, rejected_clips
from pipeline.versions.listed import listed_recordings
from pipeline.versions.reader import Version
from schemas.errors import SetupError
from stages.decode import DecodeConfig


def inspect_set_aside(version: Version, code: str, folder: Path | None, as_json: bool) -> None:
    """Show up to ten turns and recordings of each reason, or of one; with a folder, write their audio."""
    with version.table("set_aside") as table:
        found = [one for one in reasons(table) if code in ("", one.code, f"{one.stage}/{one.code}")]
    if not found:
        known = ", ".join(sorted(version.manifest.set_aside)) or "nothing was set aside"
        raise SetupError(f"nothing was set aside as {code!r}; there is: {known}")
    examples = [_examples(version, reason, folder) for reason in found]
    if as_json:
        print_json({"set_aside": [_facts(r, e) for r, e in zip(found, examples, strict=True)]})
        return
    console = wide_console()
    for reason, of_reason in zip(found, examples, strict=True):
        counts = {"recordings, rows": reason.recordings, "turns": reason.turns, "lines": reason.lines}
        numbers = ", ".join(f"{number:,} {what}" for what, number in counts.items() if number)
        console.print(f"[bold]{reason.stage}/{reason.code}[/]  {numbers}")
        for one in of_reason or [{"recording": reason.where, "message": reason.example}]:
            heard = one.get("file") or one.get("unheard") or ""
            times = "" if one.get("end") is None else f" {one['start']:.2f} to {one['end']:.2f} s"
            console.print(
                f"  {escape(one['recording'])}{times}: {escape(one['message'])} [dim]{escape(heard)}[/]",
                soft_wrap=True,
            )


def _examples(version: Version, reason: Reason, folder: Path | None) -> list[dict[str, Any]]:
    """Turns and recordings of a reason; with a folder, each with its file or why it can't be heard."""
    code = f"{reason.stage}/{reason.code}"
    with version.table("set_aside") as set_aside, version.table("turns") as turns:
        rows = choose(set_aside, code).get((reason.stage, reason.code), [])
        if folder is None:
            names = ("recording", "turn", "start", "end", "message")
            return [{name: row[name] for name in names} for row in rows]
        listed = listed_recordings(version, {row["recording"] for row in rows})
        config = DecodeConfig.model_validate(version.manifest.recipe["decode"])
        fingerprint = version.manifest.stages["decode"]
        with SpooledAudio(scratch_folder(None), config, fingerprint) as audio:
            clips = rejected_clips(set_aside, turns, RecordingAudio(audio, listed.get), code)
    of_reason = clips.get((reason.stage, reason.code), [])
    return [_written(clip, reason, number, folder) for number, clip in enumerate(of_reason, 1)]


def _written(clip: RejectedClip, reason: Reason, number: int, folder: Path) -> dict[str, Any]:
    """A clip in a file of its own, if there is something to hear."""
    facts = {
        name: getattr(clip, name) for name in ("recording", "start", "end", "speaker", "text", "message")
    }
    if clip.audio is None:
        return facts | {"file": None, "unheard": clip.unheard}
    file = folder / f"{reason.stage}-{reason.code}-{number:02d}.mp3"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(clip.audio)
    except OSError as error:
        raise SetupError(f"can't write {file}: {error.strerror}") from error
    return facts | {"file": str(file), "unheard": ""}


def _facts(reason: Reason, examples: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("stage", "code", "recordings", "turns", "lines", "seconds")
    return {name: getattr(reason, name) for name in names} | {"examples": examples}
