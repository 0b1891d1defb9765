"""Settings of the preferences stage: the sources of its pairs."""

from typing import Annotated

from pydantic import Field

from stages.preferences.contrast import Kind
from stages.stage import Config

DEAF_PHRASES: dict[str, tuple[str, ...]] = {
    "en": (
        "Sorry, I didn't hear you. Could you say that again?",
        "I'm sorry, I couldn't make out what you said.",
        "Could you speak up a little? I didn't catch that.",
        "I can't hear any audio. Please try once more.",
    ),
    "zh": (
        "不好意思，我没有听清，您能再说一遍吗？",
        "抱歉，我没听到您说什么。",
        "声音太小了，请您再说一次。",
    ),
    "de": (
        "Entschuldigung, das habe ich nicht verstanden. Kannst du es wiederholen?",
        "Ich konnte nichts hören.",
    ),
    "es": ("Perdona, no te he oído. ¿Puedes repetirlo?", "Lo siento, no he entendido lo que has dicho."),
    "fr": ("Désolé, je n'ai pas entendu. Tu peux répéter ?", "Pardon, je n'ai pas compris ce que tu as dit."),
    "it": ("Scusa, non ho sentito. Puoi ripetere?", "Mi dispiace, non ho capito quello che hai detto."),
    "ja": (
        "すみません、よく聞こえませんでした。もう一度お願いします。",
        "申し訳ありません、聞き取れませんでした。",
    ),
    "ko": ("죄송해요, 잘 못 들었어요. 다시 말씀해 주시겠어요?", "무슨 말씀인지 들리지 않았어요."),
    "pt": ("Desculpa, não ouvi. Podes repetir?", "Lamento, não percebi o que disseste."),
    "ru": ("Извини, я не расслышал. Можешь повторить?", "Простите, я не понял, что вы сказали."),
}

Share = Annotated[float, Field(ge=0, le=1)]


class PairsConfig(Config):
    candidates: tuple[str, ...] = Field(
        (),
        description="JSON Lines or Parquet files: a prompt per row, with the answers sampled for it",
    )
    ratings: tuple[str, ...] = Field(
        (),
        description="JSON Lines or Parquet files: a score per row, `{prompt, answer, rater, score}`, or a "
        "choice, `{prompt, answers: [.., ..], rater, choice}`",
    )
    margin: float = Field(
        1.0,
        gt=0,
        le=4,
        description="minimum difference between the mean scores (1 to 5) of the best and the worst answer",
    )
    raters_min: int = Field(1, ge=1, description="minimum number of ratings; answers with fewer are ignored")
    contrast: dict[Kind, Share] = Field(
        {},
        description="kind of contrast, a rejected answer made from real ones -> share of spoken answers that "
        "get one",
    )
    deaf_phrases: dict[str, tuple[str, ...]] = Field(
        DEAF_PHRASES,
        description="language -> phrases of an assistant that claims not to have heard, for the contrast "
        "`deaf`; other languages use those of `en`",
    )
