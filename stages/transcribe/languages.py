"""Which language each turn of a recording is in: no turn is judged without the others."""

from collections.abc import Mapping, Sequence

WITHOUT_SPACES = {"zh", "yue", "ja", "th", "lo", "my", "km"}
"""Languages written without spaces: their words are counted in characters."""


def languages(
    probabilities: Sequence[Mapping[str, float]], seconds: Sequence[float]
) -> list[tuple[str, float]]:
    """(language, probability) of each turn, from what each alone sounds like and how long it is.

    A turn's own probabilities are weighed with the recording's, which are the mean over its turns by
    time (Bayes' rule with that mean as the prior): a "hm" takes the language of the talk around it, while
    a clear sentence in another language, or the other half of a bilingual talk, keeps its own.
    """
    total = sum(seconds)
    prior: dict[str, float] = {}
    for own, weight in zip(probabilities, seconds, strict=True):
        for language, probability in own.items():
            prior[language] = prior.get(language, 0.0) + probability * weight / total
    result = []
    for own in probabilities:
        joint = {language: probability * prior[language] for language, probability in own.items()}
        best = max(joint, key=lambda language: (joint[language], language))
        result.append((best, joint[best] / sum(joint.values())))
    return result
