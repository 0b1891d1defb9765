"""A program of its own, for text to phonemes by espeak-ng: `python program.py FOLDER_OF_PIPER`.

espeak-ng is licensed under the GPL, so it runs in a process of its own and nothing imports this file. Reads
lines of JSON, [language, text] each, and answers with a line of JSON for each: its clauses as
[phonemes, mark at the end, whether the sentence ends].
"""

import json
import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path


def main() -> None:
    folder = Path(sys.argv[1])
    # Only this module: the whole package would load a synthesizer.
    library = next(folder.glob("espeakbridge*.so"))
    spec = spec_from_loader("espeakbridge", ExtensionFileLoader("espeakbridge", str(library)))
    assert spec is not None
    bridge = module_from_spec(spec)
    bridge.initialize(str(folder / "espeak-ng-data"))
    for line in sys.stdin:
        language, text = json.loads(line)
        bridge.set_voice(language)
        print(json.dumps(bridge.get_phonemes(text)), flush=True)


if __name__ == "__main__":
    main()
