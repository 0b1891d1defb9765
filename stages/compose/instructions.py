"""Default instructions: language -> equivalent phrasings. Languages that are not listed use `en`."""

from schemas.dialect import DIALECTS
from schemas.style import WHISPERED

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
"""Instructions to read a text in a given style."""

CONTROLLED_READING: Phrasings = {
    "en": ("Read this aloud, the second half {change}:\n", "Say this, the second half {change}:\n"),
    "zh": ("请朗读下面的文字，后半部分{change}：\n", "请说出下面的话，后半段{change}：\n"),
    "de": ("Lies das vor, die zweite Hälfte {change}:\n", "Sprich das, den zweiten Teil {change}:\n"),
    "es": ("Lee esto en voz alta, la segunda mitad {change}:\n",),
    "fr": ("Lis ceci à voix haute, la seconde moitié {change} :\n",),
    "ja": ("次の文章を、後半は{change}読み上げてください：\n",),
}
"""Instructions to read two turns that do not answer a question."""

CONTROLLED_ANSWER: Phrasings = {
    "en": ("Answer, and speak the second half {change}.\n", "Say the second half {change}.\n"),
    "zh": ("请回答，后半部分{change}。\n", "回答的后半段请{change}。\n"),
    "de": ("Antworte, und sprich die zweite Hälfte {change}.\n", "Sag die zweite Hälfte {change}.\n"),
    "es": ("Responde y di la segunda mitad {change}.\n",),
    "fr": ("Réponds, et dis la seconde moitié {change}.\n",),
    "ja": ("後半は{change}答えてください。\n",),
}
"""Instructions to answer a question in two turns."""

CONTROLLED_PARTS_READING: Phrasings = {
    "en": ("Read this aloud, {parts}:\n", "Say this, {parts}:\n"),
    "zh": ("请朗读下面的文字，{parts}：\n", "请说出下面的话，{parts}：\n"),
    "de": ("Lies das vor, {parts}:\n", "Sprich das, {parts}:\n"),
    "es": ("Lee esto en voz alta, {parts}:\n",),
    "fr": ("Lis ceci à voix haute, {parts} :\n",),
    "ja": ("次の文章を、{parts}読み上げてください：\n",),
}
"""Instructions to read more than two turns that do not answer a question."""

CONTROLLED_PARTS_ANSWER: Phrasings = {
    "en": ("Answer, and speak {parts}.\n", "Answer me, {parts}.\n"),
    "zh": ("请回答，{parts}。\n", "回答的时候，{parts}。\n"),
    "de": ("Antworte, und sprich {parts}.\n", "Gib mir eine Antwort, {parts}.\n"),
    "es": ("Responde y di {parts}.\n",),
    "fr": ("Réponds, et dis {parts}.\n",),
    "ja": ("{parts}答えてください。\n",),
}
"""Instructions to answer a question in more than two turns."""

DIALECT: Phrasings = {
    "en": ("Answer {dialect}.\n", "Please answer me {dialect}.\n", "Reply {dialect}.\n"),
    "zh": ("请{dialect}回答。\n", "{dialect}回答我。\n", "请{dialect}说。\n"),
    "de": ("Antworte {dialect}.\n", "Bitte antworte mir {dialect}.\n"),
    "es": ("Responde {dialect}.\n",),
    "fr": ("Réponds {dialect}.\n",),
    "ja": ("{dialect}答えてください。\n",),
}
"""Instructions to answer a question in a dialect or another language."""

SING: Phrasings = {
    "en": ("Sing this line:\n", "Sing the following:\n", "Sing these words:\n", "Sing this for me:\n"),
    "zh": ("请唱这句歌词：\n", "把下面这句唱出来：\n", "唱一下这句：\n", "请把这段歌词唱给我听：\n"),
}

NEXTLINE: Phrasings = {
    "en": ("Go on singing.\n", "Sing the next line.\n", "What comes next? Sing it.\n", "Keep singing.\n"),
    "zh": ("请接着唱。\n", "唱下一句。\n", "下一句是什么？唱出来。\n", "继续唱下去。\n"),
}

LYRICS: Phrasings = {
    "en": (
        "Say the words of this line.\n",
        "What are the words that are sung?\n",
        "Speak these lyrics.\n",
        "Give me the lyrics of this.\n",
    ),
    "zh": ("请说出这句歌词。\n", "唱的是什么词？\n", "把这句歌词念出来。\n", "告诉我这段的歌词。\n"),
}

SONGNAME: Phrasings = {
    "en": ("Which song is this?\n", "What is this song called?\n", "Name this song, and who sings it.\n"),
    "zh": ("这是哪首歌？\n", "这首歌叫什么名字？\n", "这是谁的什么歌？\n"),
}

SONG_NAMES: dict[str, tuple[str, str]] = {
    "en": ("It is “{title}” by {artist}.", "It is “{title}”."),
    "zh": ("这是{artist}的《{title}》。", "这是《{title}》。"),
}
"""Language -> the answer that names a song, with and without who sings it."""

ALOUD = "aloud"
"""What a voice becomes that no longer whispers."""

_LANGUAGES = ("en", "zh", "de", "es", "fr", "ja")
_WORDS = {
    "slower": ("slower", "慢一点", "langsamer", "más despacio", "plus lentement", "もっとゆっくり"),
    "faster": ("faster", "快一点", "schneller", "más rápido", "plus vite", "もっと速く"),
    "lower": ("lower", "低沉一点", "tiefer", "más grave", "plus grave", "もっと低い声で"),
    "higher": ("higher", "高一点", "höher", "más agudo", "plus aigu", "もっと高い声で"),
    "flatter": ("more evenly", "平淡一点", "gleichmäßiger", "más monótono", "plus uniment", "もっと淡々と"),
    "livelier": ("livelier", "生动一点", "lebhafter", "más vivo", "plus vivement", "もっと生き生きと"),
    "softer": ("softer", "轻一点", "leiser", "más bajo", "plus bas", "もっと小さい声で"),
    "louder": ("louder", "大声一点", "lauter", "más fuerte", "plus fort", "もっと大きい声で"),
    "slow": ("slowly", "慢慢地", "langsam", "despacio", "lentement", "ゆっくり"),
    "fast": ("fast", "快速地", "schnell", "rápido", "vite", "速く"),
    "low": ("in a low voice", "低沉地", "mit tiefer Stimme", "con voz grave", "d'une voix grave", "低い声で"),
    "high": (
        "in a high voice",
        "高声调地",
        "mit hoher Stimme",
        "con voz aguda",
        "d'une voix aiguë",
        "高い声で",
    ),
    "flat": ("evenly", "平淡地", "gleichmäßig", "en tono uniforme", "d'un ton égal", "淡々と"),
    "lively": ("in a lively way", "生动地", "lebhaft", "con viveza", "avec entrain", "生き生きと"),
    "soft": ("softly", "轻声地", "leise", "en voz baja", "doucement", "小さい声で"),
    "loud": ("loudly", "大声地", "laut", "en voz fuerte", "fort", "大きい声で"),
    WHISPERED: (
        "in a whisper",
        "用耳语",
        "im Flüsterton",
        "en un susurro",
        "en chuchotant",
        "ささやき声で",
    ),
    ALOUD: (
        "aloud again",
        "恢复正常音量地",
        "wieder laut",
        "de nuevo en voz alta",
        "de nouveau à voix haute",
        "また普通の声で",
    ),
    "emotion": (
        "sounding {emotion}",
        "用{emotion}的语气",
        "im Ton {emotion}",
        "en tono {emotion}",
        "d'un ton {emotion}",
        "{emotion}の口調で",
    ),
    "and": (" and ", "、", " und ", " y ", " et ", "、"),
    "first": (
        "the first part {style}",
        "第一部分{style}",
        "den ersten Teil {style}",
        "la primera parte {style}",
        "la première partie {style}",
        "最初は{style}",
    ),
    "then": (
        ", then {change}",
        "，然后{change}",
        ", dann {change}",
        ", luego {change}",
        ", puis {change}",
        "、次に{change}",
    ),
    "normal": ("normally", "正常地", "normal", "con normalidad", "normalement", "普通に"),
    "cantonese": ("in Cantonese", "用粤语", "auf Kantonesisch", "en cantonés", "en cantonais", "広東語で"),
    "sichuanese": (
        "in Sichuanese",
        "用四川话",
        "auf Sichuanesisch",
        "en sichuanés",
        "en sichuanais",
        "四川語で",
    ),
    "shanghainese": (
        "in Shanghainese",
        "用上海话",
        "auf Shanghaiisch",
        "en shanghainés",
        "en shanghaïen",
        "上海語で",
    ),
    "hokkien": ("in Hokkien", "用闽南话", "auf Hokkien", "en hokkien", "en hokkien", "閩南語で"),
    "mandarin": (
        "in Mandarin",
        "用普通话",
        "auf Hochchinesisch",
        "en mandarín",
        "en mandarin",
        "標準中国語で",
    ),
    "zh": ("in Chinese", "用中文", "auf Chinesisch", "en chino", "en chinois", "中国語で"),
    "en": ("in English", "用英语", "auf Englisch", "en inglés", "en anglais", "英語で"),
    "ja": ("in Japanese", "用日语", "auf Japanisch", "en japonés", "en japonais", "日本語で"),
    "ko": ("in Korean", "用韩语", "auf Koreanisch", "en coreano", "en coréen", "韓国語で"),
    "de": ("in German", "用德语", "auf Deutsch", "en alemán", "en allemand", "ドイツ語で"),
    "es": ("in Spanish", "用西班牙语", "auf Spanisch", "en español", "en espagnol", "スペイン語で"),
    "fr": ("in French", "用法语", "auf Französisch", "en francés", "en français", "フランス語で"),
    "dialect": (
        "in the dialect {dialect}",
        "用{dialect}",
        "auf {dialect}",
        "en {dialect}",
        "en {dialect}",
        "{dialect}で",
    ),
}
WORDS: dict[str, dict[str, str]] = {
    language: {name: words[n] for name, words in _WORDS.items()} for n, language in enumerate(_LANGUAGES)
}
"""Language -> change or style -> its wording in an instruction; `and` joins two of them.

`first` and `then` say what becomes of the parts of an answer, one after another. `cantonese` and so on name
a dialect, `ja` and so on a language, and `dialect` any other dialect.
"""

PART_WORDS = frozenset({"first", "then", "normal"})
"""Words that only answers of more than two turns need."""

WHISPER_WORDS = frozenset({WHISPERED, ALOUD})
"""Words that only whispers need."""

DIALECT_WORDS = frozenset(
    {*DIALECTS, "dialect", *("zh", "en", "ja", "ko", "de", "es", "fr")},
)
"""Words that only answers in a dialect or another language need."""
