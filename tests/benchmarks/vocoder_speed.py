"""CPU seconds per second of speech, and until the first audio of a stream.

    OMP_NUM_THREADS=1 python tests/benchmarks/vocoder_speed.py

Weights are random, which cost the same as trained ones. Time is CPU time of this process on one core, so
other load on the machine matters little.
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
    for name in ("tiny", "small", "voice"):
        vocoder = Vocoder.of(PRESETS[name]).eval()
        vocoder.speak(tokens[:30])  # warm up
        began = time.process_time()
        vocoder.speak(tokens)
        whole = time.process_time() - began
        began, first = time.process_time(), None
        stream = VocoderStream(vocoder)
        for start in range(0, TOKENS, 5):
            if len(stream.push(tokens[start : start + 5])) and first is None:
                first = time.process_time() - began
        stream.finish()
        streamed = time.process_time() - began
        print(f"{name}: whole {whole / seconds:.2f}, streamed {streamed / seconds:.2f}, first {first:.2f} s")


if __name__ == "__main__":
    main()
