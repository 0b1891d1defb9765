"""ELAN's annotations (.eaf): every tier of its own is a speaker.

Tiers that depend on another, such as translations and words of an utterance, are left out.
"""

from collections.abc import Iterator
from xml.parsers import expat

from schemas.companions.annotation import CompanionEntry, CompanionSegment, number


def elan(text: str) -> Iterator[CompanionEntry]:
    """The annotations with times of all tiers that depend on no other; the speaker is the participant, or
    else the name of the tier."""
    document = _Document()
    try:
        document.parse(text)
    except (expat.ExpatError, ValueError) as error:
        yield from document.entries()
        yield CompanionEntry(document.line, "", None, f"it can't be read as ELAN's XML: {error}")
        return
    if not document.is_elan:
        yield CompanionEntry(1, "", None, "it is not a file of ELAN")
        return
    yield from document.entries()


class _Document:
    """What is read of a file, an element at a time."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate("utf-8")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = self._entity
        self.is_elan = False
        self._times: dict[str, str] = {}
        """Id of a time slot -> milliseconds."""
        self._origin = "0"
        self._speaker = ""
        """Of the tier; empty in one that depends on another."""
        self._found: list[tuple[int, str, str, str, str]] = []
        """(line, speaker, first slot, last slot, text) of each annotation."""
        self._said: list[str] | None = None

    @property
    def line(self) -> int:
        return self._parser.CurrentLineNumber

    def parse(self, text: str) -> None:
        self._parser.Parse(text.encode("utf-8", "replace"), True)

    def entries(self) -> Iterator[CompanionEntry]:
        for line, speaker, first, last, text in self._found:
            try:
                start, end = (self._seconds(slot) for slot in (first, last))
            except ValueError as error:
                yield CompanionEntry(line, "", None, str(error))
            else:
                yield CompanionEntry(line, "", CompanionSegment(start, end, speaker, None, text or None))

    def _seconds(self, slot: str) -> float:
        if slot not in self._times:
            raise ValueError("the annotation has no time of its own")
        milliseconds = number(self._times[slot], "TIME_VALUE") + number(self._origin, "TIME_ORIGIN")
        return round(milliseconds / 1000, 3)

    def _start(self, name: str, fields: dict[str, str]) -> None:
        match name:
            case "ANNOTATION_DOCUMENT":
                self.is_elan = True
            case "MEDIA_DESCRIPTOR":
                self._origin = fields.get("TIME_ORIGIN") or "0"
            case "TIME_SLOT" if "TIME_VALUE" in fields:
                self._times[fields.get("TIME_SLOT_ID", "")] = fields["TIME_VALUE"]
            case "TIER":
                named = fields.get("PARTICIPANT", "").strip() or fields.get("TIER_ID", "")
                self._speaker = "" if "PARENT_REF" in fields else named
            case "ALIGNABLE_ANNOTATION" if self._speaker:
                slots = (fields.get("TIME_SLOT_REF1", ""), fields.get("TIME_SLOT_REF2", ""))
                self._found.append((self.line, self._speaker, *slots, ""))
                self._said = []

    def _characters(self, text: str) -> None:
        if self._said is not None:
            self._said.append(text)

    def _end(self, name: str) -> None:
        if name == "ALIGNABLE_ANNOTATION" and self._said is not None:
            self._found[-1] = (*self._found[-1][:4], " ".join("".join(self._said).split()))
            self._said = None

    def _entity(self, *_: object) -> None:
        raise ValueError("it declares entities, which no file of ELAN does")
