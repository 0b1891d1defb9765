"""Talk: a closed world of short spoken questions and answers, for a model that two cores can train."""

from stages.synthesize.talk.dialogues import TalkDialogue, judging_dialogues, training_dialogues

__all__ = ["TalkDialogue", "judging_dialogues", "training_dialogues"]
