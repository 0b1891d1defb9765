"""Language of each turn of a recording, in the context of its other turns."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import add

WITHOUT_SPACES = {"zh", "yue", "ja", "th", "lo", "my", "km"}
"""Languages written without spaces, whose words are counted as characters."""


def languages(
    probabilities: Sequence[Mapping[str, float]], seconds: Sequence[float]
) -> list[tuple[str, float]]:
    """(language, probability) of each turn, from the probabilities of each by itself and the durations.

    Bayes' rule with the mean over the recording, weighted by duration in seconds, as the prior: a "hm" gets
    the language of the surrounding turns, while a clear sentence in another language keeps its own.
    """
    total = sum_in_order(seconds)
    prior: dict[str, float] = {}
    for own, weight in zip(probabilities, seconds, strict=True):
        for language, probability in own.items():
            prior[language] = prior.get(language, 0.0) + probability * weight / total
    result = []
    for own in probabilities:
        joint = {language: probability * prior[language] for language, probability in own.items()}
        best = max(joint, key=lambda language: (joint[language], language))
        result.append((best, joint[best] / sum_in_order(joint.values())))
    return result


def sum_in_order(values: Iterable[float]) -> float:
    """Sum from left to right. The built-in `sum` rounds otherwise since Python 3.12, and versions built with
    3.11 and 3.12 would differ in the last digit."""
    return reduce(add, values, 0.0)
