"""One contender of `generate.py`, in a process and perhaps an environment of its own.

Reads a JSON line `{"prompts": [[id, …], …], "new": n, "unused": id}` for every turn and answers with
`{"tokens": [[id, …], …], "cpu": seconds, "wall": seconds, "how": "…"}`. Nothing of parley is imported:
what a contender needs stands in the directory that it is given (a checkpoint, and a GGUF file of it).

    python benchmarks/generate_peer.py KIND DIRECTORY --threads 1
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Rows = list[list[int]]
Turn = Callable[[Rows, int, int], Rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    found = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CT2_INTRA_THREADS"):
        os.environ[name] = str(found.threads)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not for the one who asks
    contender = KINDS[found.kind](found.directory, found.threads)
    print(json.dumps({"ready": found.kind}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        cpu, wall = time.process_time(), time.perf_counter()
        tokens = contender.write(asked["prompts"], asked["new"], asked["unused"])
        took = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        print(json.dumps({"tokens": tokens, **took, "how": contender.how}), file=answers, flush=True)


class Transformers:
    """`generate` with its dynamic cache."""

    def __init__(self, directory: Path, threads: int, dtype: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        self.how = f"generate, {dtype}"
        self._torch = torch
        self._model = AutoModelForCausalLM.from_pretrained(
            directory, dtype=getattr(torch, dtype), attn_implementation="sdpa"
        ).eval()

    def write(self, prompts: Rows, new: int, unused: int) -> Rows:
        torch = self._torch
        ids = torch.tensor(prompts)
        with torch.inference_mode():
            found = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=new,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=unused,
            )
        return [row[len(prompt) :] for row, prompt in zip(found.tolist(), prompts, strict=True)]


class Continuous:
    """transformers' continuous batching, its manager kept between calls."""

    how = "generate_batch, persistent manager, float32"

    def __init__(self, directory: Path, threads: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        self._count = 0
        self._model = AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="sdpa"
        ).eval()

    def write(self, prompts: Rows, new: int, unused: int) -> Rows:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        if len(prompts) != self._count:  # a manager is sized for the first work it sees
            self._model.destroy_cached_continuous_batching_manager()
            self._count = len(prompts)
        found = self._model.generate_batch(
            inputs=prompts,
            generation_config=GenerationConfig(
                max_new_tokens=new, do_sample=False, eos_token_id=unused, pad_token_id=unused
            ),
            continuous_batching_config=ContinuousBatchingConfig(num_blocks=2 * len(prompts) + 2),
            persistent_manager=True,
        )
        return [list(row.generated_tokens) for row in found.values()]


class CTranslate2:
    """Its generator, converted on the way in."""

    def __init__(self, directory: Path, threads: int) -> None:
        import ctranslate2
        from ctranslate2.converters import TransformersConverter

        out = directory / "ctranslate2"
        if not out.exists():
            TransformersConverter(str(directory)).convert(str(out), quantization="float32")
        self.how = f"generate_batch, float32, {ctranslate2.__version__}"
        self._generator = ctranslate2.Generator(
            str(out), device="cpu", compute_type="float32", inter_threads=1, intra_threads=threads
        )
        vocabulary = json.loads((out / "vocabulary.json").read_text(encoding="utf-8"))
        self._texts = vocabulary
        self._ids = {text: number for number, text in enumerate(vocabulary)}

    def write(self, prompts: Rows, new: int, unused: int) -> Rows:
        found = self._generator.generate_batch(
            [[self._texts[n] for n in prompt] for prompt in prompts],
            max_length=new,
            sampling_topk=1,
            include_prompt_in_result=False,
            end_token=[self._texts[unused]],
        )
        return [list(row.sequences_ids[0]) for row in found]


class LlamaCpp:
    """Its C API with a sequence for each prompt; the quickest of its settings, found on the first turn."""

    SETTINGS = ((True, 0), (False, 0), (True, 1), (False, 1))  # unified cells?, flash attention?

    def __init__(self, directory: Path, threads: int, precision: str) -> None:
        import llama_cpp
        import numpy

        self._np, self._lib, self._threads = numpy, llama_cpp, threads
        import logging

        logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)
        path = directory / f"model-{precision}.gguf"
        self._model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params()
        )
        self._vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._cache_type = 0 if precision == "f32" else 1
        self._chosen: dict[int, tuple[bool, int]] = {}
        self.how = ""

    def write(self, prompts: Rows, new: int, unused: int) -> Rows:
        count = len(prompts)
        if count not in self._chosen:
            self._chosen[count] = min(self.SETTINGS, key=lambda some: self._timed(prompts, new // 4, *some))
        unified, flash = self._chosen[count]
        self.how = f"C API, {'unified' if unified else 'separate'} cells, flash attention {bool(flash)}"
        return self._run(prompts, new, unified, flash)

    def _timed(self, prompts: Rows, new: int, unified: bool, flash: int) -> float:
        began = time.process_time()
        self._run(prompts, max(new, 2), unified, flash)
        return time.process_time() - began

    def _run(self, prompts: Rows, new: int, unified: bool, flash: int) -> Rows:
        context = self._context(len(prompts), max(map(len, prompts)) + new, unified, flash)
        found: Rows = [[] for _ in prompts]
        try:
            for part in _parts(prompts, most=2048):
                entries = [
                    (token, at, row, at == len(prompts[row]) - 1)
                    for row in part
                    for at, token in enumerate(prompts[row])
                ]
                for row, token in zip(part, self._decode(context, entries), strict=True):
                    found[row].append(token)
            for step in range(1, new):
                entries = [
                    (row[-1], len(prompt) + step - 1, number, True)
                    for number, (row, prompt) in enumerate(zip(found, prompts, strict=True))
                ]
                for row, token in zip(found, self._decode(context, entries), strict=True):
                    row.append(token)
        finally:
            self._lib.llama_free(context)
        return found

    def _context(self, sequences: int, columns: int, unified: bool, flash: int) -> Any:
        settings = self._lib.llama_context_default_params()
        settings.n_ctx = sequences * (-(-columns // 256) * 256 if not unified else columns)
        settings.n_batch = settings.n_ubatch = min(2048, settings.n_ctx)
        settings.n_seq_max = sequences
        settings.n_threads = settings.n_threads_batch = self._threads
        settings.kv_unified, settings.flash_attn_type = unified, flash
        settings.type_k = settings.type_v = self._cache_type
        settings.no_perf = True
        return self._lib.llama_init_from_model(self._model, settings)

    def _decode(self, context: Any, entries: Sequence[tuple[int, int, int, bool]]) -> list[int]:
        np, whole = self._np, ctypes.POINTER(ctypes.c_int32)
        kinds = (np.int32, np.int32, np.int32, np.int8)
        tokens, places, rows, wanted = (
            np.array(part, dtype=kind) for part, kind in zip(zip(*entries, strict=True), kinds, strict=True)
        )
        ones = np.ones(len(entries), dtype=np.int32)
        pointers = (rows.ctypes.data + 4 * np.arange(len(entries))).astype(np.uint64)
        batch = self._lib.llama_batch(
            n_tokens=len(entries),
            token=tokens.ctypes.data_as(whole),
            embd=None,
            pos=places.ctypes.data_as(whole),
            n_seq_id=ones.ctypes.data_as(whole),
            seq_id=pointers.ctypes.data_as(ctypes.POINTER(whole)),
            logits=wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )
        if code := self._lib.llama_decode(context, batch):
            raise SystemExit(f"llama_decode failed with {code}")
        shape = (int(wanted.sum()), self._vocab)
        logits = np.ctypeslib.as_array(self._lib.llama_get_logits(context), shape=shape)
        found: list[int] = logits.argmax(-1).tolist()
        return found


def _parts(prompts: Rows, *, most: int) -> Iterator[list[int]]:
    """Numbers of prompts that are read in one call."""
    part: list[int] = []
    size = 0
    for number, prompt in enumerate(prompts):
        if part and size + len(prompt) > most:
            yield part
            part, size = [], 0
        part.append(number)
        size += len(prompt)
    yield part


KINDS: dict[str, Callable[[Path, int], Any]] = {
    "transformers fp32": lambda directory, threads: Transformers(directory, threads, "float32"),
    "transformers bf16": lambda directory, threads: Transformers(directory, threads, "bfloat16"),
    "transformers continuous": Continuous,
    "ctranslate2 fp32": CTranslate2,
    "llama.cpp f32": lambda directory, threads: LlamaCpp(directory, threads, "f32"),
    "llama.cpp bf16": lambda directory, threads: LlamaCpp(directory, threads, "bf16"),
}

if __name__ == "__main__":
    main()
