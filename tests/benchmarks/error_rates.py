"""Word and character error rates, as the field counts them: jiwer over Whisper's text normalisers."""

from collections.abc import Sequence

WITHOUT_SPACES = {"zh", "yue", "ja", "th", "lo", "my", "km"}


def error_rate(language: str, pairs: Sequence[tuple[str, str]]) -> tuple[str, float]:
    """("WER" or "CER", rate) of (reference, heard) pairs of one language, over all of them together.

    Chinese is compared in simplified characters.
    """
    import jiwer
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    normal = EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()
    references = [normal(reference) for reference, _ in pairs]
    heard = [normal(text) for _, text in pairs]
    if language in WITHOUT_SPACES:
        return "CER", float(jiwer.cer(_characters(references), _characters(heard)))
    return "WER", float(jiwer.wer(references, heard))


def _characters(texts: Sequence[str]) -> list[str]:
    import opencc

    simplify = opencc.OpenCC("tw2s").convert
    return [simplify(text).replace(" ", "") for text in texts]
