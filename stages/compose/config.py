"""Which families, and the words that a model is asked with."""

from typing import Literal

from pydantic import Field

from stages.stage import Config

Family = Literal["continuation", "asr", "tts", "aqtaa"]
Phrasings = dict[str, tuple[str, ...]]
"""Language -> ways to say the same; `en` serves languages that have none."""

ASR_INSTRUCTIONS: Phrasings = {
    "en": (
        "Write down what is said.\n",
        "Transcribe this recording.\n",
        "Turn this speech into text.\n",
        "What does the speaker say, word for word?\n",
    ),
    "zh": ("请把这段语音写成文字。\n", "请转写这段录音。\n", "请逐字写出说话人说了什么。\n"),
    "de": ("Schreib auf, was gesagt wird.\n", "Verschriftliche diese Aufnahme.\n"),
    "es": ("Escribe lo que se dice.\n", "Transcribe esta grabación.\n"),
    "fr": ("Écris ce qui est dit.\n", "Transcris cet enregistrement.\n"),
    "it": ("Scrivi quello che viene detto.\n", "Trascrivi questa registrazione.\n"),
    "ja": ("話されている内容を書き起こしてください。\n", "この音声を文字にしてください。\n"),
    "ko": ("말한 내용을 받아 적어 주세요.\n", "이 음성을 글로 옮겨 주세요.\n"),
    "pt": ("Escreve o que é dito.\n", "Transcreve esta gravação.\n"),
    "ru": ("Запиши, что сказано.\n", "Расшифруй эту запись.\n"),
}

TTS_INSTRUCTIONS: Phrasings = {
    "en": (
        "Read this aloud:\n",
        "Say the following:\n",
        "Speak this text:\n",
        "Turn this text into speech:\n",
    ),
    "zh": ("请朗读下面的文字：\n", "请说出下面这句话：\n", "请把这段文字变成语音：\n"),
    "de": ("Lies das vor:\n", "Sprich diesen Text:\n"),
    "es": ("Lee esto en voz alta:\n", "Di lo siguiente:\n"),
    "fr": ("Lis ceci à voix haute :\n", "Dis ce qui suit :\n"),
    "it": ("Leggi questo ad alta voce:\n", "Pronuncia questo testo:\n"),
    "ja": ("次の文章を読み上げてください：\n", "次の言葉を話してください：\n"),
    "ko": ("다음 글을 소리 내어 읽어 주세요:\n", "다음 문장을 말해 주세요:\n"),
    "pt": ("Lê isto em voz alta:\n", "Diz o seguinte:\n"),
    "ru": ("Прочитай это вслух:\n", "Произнеси этот текст:\n"),
}


class ComposeConfig(Config):
    families: tuple[Family, ...] = Field(
        ("continuation", "asr", "tts", "aqtaa"), description="what to make of the kept turns"
    )
    continuation_seconds_min: float = Field(5.0, ge=0, description="shortest turn for continuation, seconds")
    asr_instructions: Phrasings = Field(
        ASR_INSTRUCTIONS, description="language -> phrasings, one drawn for each sample; en serves the rest"
    )
    tts_instructions: Phrasings = Field(TTS_INSTRUCTIONS, description="as asr_instructions")
    system_prompts: Phrasings = Field(
        {}, description="language -> system prompts of aqtaa, one drawn for each sample; empty: none"
    )
