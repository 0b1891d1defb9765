"""CPU seconds that a second of speech takes, and those up to the first sound of a stream.

    OMP_NUM_THREADS=1 python tests/benchmarks/vocoder_speed.py

Weights are random: what they say costs nothing else. Time is the process's own on one core, so that others on
the machine count little.
"""

import time

import torch

from stages.train.vocoder.shape import PRESETS
from stages.train.vocoder.stream import VocoderStream
from stages.train.vocoder.vocoder import Vocoder

TOKENS = 210
"""5.04 s"""


def main() -> None:
    torch.set_num_threads(1)
    tokens = torch.randint(0, 5120, (TOKENS,), generator=torch.Generator().manual_seed(0)).tolist()
    seconds = TOKENS * 0.024
    for name in ("tiny", "small"):
        vocoder = Vocoder.of(PRESETS[name]).eval()
        vocoder.speak(tokens[:30])  # what is done once
        began = time.process_time()
        vocoder.speak(tokens)
        whole = time.process_time() - began
        began, first = time.process_time(), None
        stream = VocoderStream(vocoder)
        for at in range(0, TOKENS, 5):
            if len(stream.push(tokens[at : at + 5])) and first is None:
                first = time.process_time() - began
        stream.finish()
        streamed = time.process_time() - began
        print(f"{name}: whole {whole / seconds:.2f}, streamed {streamed / seconds:.2f}, first {first:.2f} s")


if __name__ == "__main__":
    main()
