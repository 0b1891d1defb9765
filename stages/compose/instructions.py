"""The words that a model is asked with: language -> ways to say the same; `en` serves the rest."""

Phrasings = dict[str, tuple[str, ...]]

ASR: Phrasings = {
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

TTS: Phrasings = {
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

STYLED_TTS: Phrasings = {
    "en": ("Read this aloud, {style}:\n", "Say the following, {style}:\n"),
    "zh": ("请{style}朗读下面的文字：\n", "请{style}说出下面这句话：\n"),
    "de": ("Lies das {style} vor:\n", "Sprich diesen Text {style}:\n"),
    "es": ("Lee esto en voz alta, {style}:\n", "Di lo siguiente, {style}:\n"),
    "fr": ("Lis ceci à voix haute, {style} :\n", "Dis ce qui suit, {style} :\n"),
    "ja": ("次の文章を{style}読み上げてください：\n", "次の言葉を{style}話してください：\n"),
}
"""For a reading whose style is asked for."""

CONTROLLED_READING: Phrasings = {
    "en": ("Read this aloud, the second half {change}:\n", "Say this, the second half {change}:\n"),
    "zh": ("请朗读下面的文字，后半部分{change}：\n", "请说出下面的话，后半段{change}：\n"),
    "de": ("Lies das vor, die zweite Hälfte {change}:\n", "Sprich das, den zweiten Teil {change}:\n"),
    "es": ("Lee esto en voz alta, la segunda mitad {change}:\n",),
    "fr": ("Lis ceci à voix haute, la seconde moitié {change} :\n",),
    "ja": ("次の文章を、後半は{change}読み上げてください：\n",),
}
"""For two turns that nobody asked for."""

CONTROLLED_ANSWER: Phrasings = {
    "en": ("Answer, and speak the second half {change}.\n", "Say the second half {change}.\n"),
    "zh": ("请回答，后半部分{change}。\n", "回答的后半段请{change}。\n"),
    "de": ("Antworte, und sprich die zweite Hälfte {change}.\n", "Sag die zweite Hälfte {change}.\n"),
    "es": ("Responde y di la segunda mitad {change}.\n",),
    "fr": ("Réponds, et dis la seconde moitié {change}.\n",),
    "ja": ("後半は{change}答えてください。\n",),
}
"""For an answer of two turns."""

WORDS: dict[str, dict[str, str]] = {
    "en": {
        **{"slower": "slower", "faster": "faster", "lower": "lower", "higher": "higher"},
        **{"flatter": "more evenly", "livelier": "livelier", "softer": "softer", "louder": "louder"},
        **{"slow": "slowly", "fast": "fast", "low": "in a low voice", "high": "in a high voice"},
        **{"flat": "evenly", "lively": "in a lively way", "soft": "softly", "loud": "loudly"},
        **{"emotion": "sounding {emotion}", "and": " and "},
    },
    "zh": {
        **{"slower": "慢一点", "faster": "快一点", "lower": "低沉一点", "higher": "高一点"},
        **{"flatter": "平淡一点", "livelier": "生动一点", "softer": "轻一点", "louder": "大声一点"},
        **{"slow": "慢慢地", "fast": "快速地", "low": "低沉地", "high": "高声调地"},
        **{"flat": "平淡地", "lively": "生动地", "soft": "轻声地", "loud": "大声地"},
        **{"emotion": "用{emotion}的语气", "and": "、"},
    },
    "de": {
        **{"slower": "langsamer", "faster": "schneller", "lower": "tiefer", "higher": "höher"},
        **{"flatter": "gleichmäßiger", "livelier": "lebhafter", "softer": "leiser", "louder": "lauter"},
        **{"slow": "langsam", "fast": "schnell", "low": "mit tiefer Stimme", "high": "mit hoher Stimme"},
        **{"flat": "gleichmäßig", "lively": "lebhaft", "soft": "leise", "loud": "laut"},
        **{"emotion": "im Ton {emotion}", "and": " und "},
    },
    "es": {
        **{"slower": "más despacio", "faster": "más rápido", "lower": "más grave", "higher": "más agudo"},
        **{"flatter": "más monótono", "livelier": "más vivo", "softer": "más bajo", "louder": "más fuerte"},
        **{"slow": "despacio", "fast": "rápido", "low": "con voz grave", "high": "con voz aguda"},
        **{
            "flat": "en tono uniforme",
            "lively": "con viveza",
            "soft": "en voz baja",
            "loud": "en voz fuerte",
        },
        **{"emotion": "en tono {emotion}", "and": " y "},
    },
    "fr": {
        **{"slower": "plus lentement", "faster": "plus vite", "lower": "plus grave", "higher": "plus aigu"},
        **{
            "flatter": "plus uniment",
            "livelier": "plus vivement",
            "softer": "plus bas",
            "louder": "plus fort",
        },
        **{"slow": "lentement", "fast": "vite", "low": "d'une voix grave", "high": "d'une voix aiguë"},
        **{"flat": "d'un ton égal", "lively": "avec entrain", "soft": "doucement", "loud": "fort"},
        **{"emotion": "d'un ton {emotion}", "and": " et "},
    },
    "ja": {
        **{"slower": "もっとゆっくり", "faster": "もっと速く", "lower": "もっと低い声で"},
        **{"higher": "もっと高い声で", "flatter": "もっと淡々と", "livelier": "もっと生き生きと"},
        **{"softer": "もっと小さい声で", "louder": "もっと大きい声で", "slow": "ゆっくり", "fast": "速く"},
        **{"low": "低い声で", "high": "高い声で", "flat": "淡々と", "lively": "生き生きと"},
        **{"soft": "小さい声で", "loud": "大きい声で", "emotion": "{emotion}の口調で", "and": "、"},
    },
}
"""What a change or a style is called in an instruction; `and` stands between two."""
