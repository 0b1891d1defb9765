"""What is said in a whole recording: a JSON object with the text and perhaps the speaker, or the text alone.

So are the members of archives for training that have the name of a recording.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from schemas.companions.annotation import UNTIL_THE_END, CompanionEntry, CompanionSegment
from schemas.companions.audacity import are_labels, labels
from schemas.recording import UNKNOWN_SPEAKER

CLIP = "clip"

TEXT_FIELDS = ("text", "transcript", "transcription", "sentence", "normalized_text", "raw_text")
SPEAKER_FIELDS = ("speaker", "speaker_id", "speaker_name", "spk", "spk_id", "client_id")
"""Names that data sets give to the fields, the first that is there being used."""


def clip(text: str) -> Iterator[CompanionEntry]:
    """One segment until the end, or those of labels; none if nothing is said about the text."""
    if are_labels(text):
        yield from labels(text)
        return
    said, speaker = text, None
    if text.lstrip().startswith("{"):
        try:
            fields = json.loads(text, strict=False)
        except (ValueError, RecursionError) as error:
            yield CompanionEntry(1, "", None, f"it is not valid JSON: {error}")
            return
        said, speaker = said_in(fields)
    if said := " ".join(said.split()):
        segment = CompanionSegment(0.0, UNTIL_THE_END, speaker or UNKNOWN_SPEAKER, None, said)
        yield CompanionEntry(1, "", segment)


def said_in(fields: Mapping[str, Any]) -> tuple[str, str | None]:
    """The text of a clip by its fields, empty without one, and its speaker."""
    texts = (fields[name] for name in TEXT_FIELDS if isinstance(fields.get(name), str))
    named = (fields[name] for name in SPEAKER_FIELDS if isinstance(fields.get(name), str | int))
    speaker = next((str(name) for name in named if name != ""), None)
    return next((text for text in texts if text.strip()), ""), speaker
