"""llama.cpp as a model that the engine drives: its sequences are the engine's slots.

Batching, sampling, seeds, stops and fairness are the engine's own (`engine.batcher`); llama.cpp turns
tokens into logits. A checkpoint is written as GGUF, opened and unlinked, so that nothing is left on
disk. Its products depend on how many rows are multiplied together: the last bits of a reply hang on
its neighbours, unlike in the built-in engine's exact mode. Needs the extra `llama`.
"""

from __future__ import annotations

import ctypes
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from parley.engine.batcher import Batcher
from parley.engine.engine import Engine
from parley.engine.runner import CHUNK, Step
from parley.errors import ArtifactError, ConfigError, InvariantError
from parley.model.gguf import Precision, export_weights
from parley.model.language_model import LanguageModel, ModelShape
from parley.numerics import NumericPlan

MOST_SEQUENCES: Final = 256  # of llama.cpp, compiled in
BATCH_TOKENS: Final = 2048  # read in one call
MOST_CELLS: Final = 1 << 16  # tokens that are kept for all replies together
MOST_SLOTS, READING_ROWS = 32, 2
PLAIN_ATTENTION: Final = 0  # the flash kind is off by 1e-3 nats where this one is by 1e-5
KEPT_IN: Final = {"f32": 0, "f16": 1}  # ggml's numbers of the types that keys and values are kept in


def start_llama(decoder: LanguageModel, plan: NumericPlan) -> Engine:
    """An engine for people's requests to a model, in llama.cpp. It keeps a copy of the weights."""
    columns = decoder.config.max_positions
    slots = min(max(MOST_CELLS // columns - READING_ROWS, 1), MOST_SLOTS)

    def build() -> Batcher:
        runner = LlamaRunner(
            decoder, sequences=slots + READING_ROWS, columns=columns, threads=plan.threads or 1
        )
        return Batcher(runner, slots=slots, columns=columns, reading_rows=READING_ROWS, reserved=slots // 4)

    return Engine(build, threads=plan.threads)


class Sequences:
    """A range of llama.cpp's sequences, as rows."""

    def __init__(self, memory: Any, library: Any, *, first: int, rows: int) -> None:
        self.rows, self.first = rows, first
        self._memory, self._library = memory, library

    def copy(self, row: int, other: Sequences, source: int, columns: int) -> None:
        """`row` becomes a copy of the first columns of another row; the cells are shared."""
        self.release(row)
        self._library.llama_memory_seq_cp(self._memory, other.first + source, self.first + row, 0, columns)

    def release(self, row: int) -> None:
        """Nothing of this row is needed any more."""
        self._library.llama_memory_seq_rm(self._memory, self.first + row, -1, -1)

    def scrub(self, row: int) -> None:
        """The same."""
        self.release(row)


class LlamaRunner:
    """A model in llama.cpp, with room for `sequences` of `columns` tokens. For one thread alone."""

    def __init__(
        self,
        decoder: LanguageModel,
        *,
        sequences: int,
        columns: int,
        threads: int,
        precision: Precision = "f32",
    ) -> None:
        if sequences > MOST_SEQUENCES:
            raise ConfigError(f"llama.cpp keeps {MOST_SEQUENCES} sequences at most, not {sequences}")
        self.shape: ModelShape = decoder.config
        self.device = torch.device("cpu")
        self._library = _library()
        self._weights = _opened(self._library, decoder, precision)
        self._context = self._opened_context(sequences, columns, threads, precision)
        self._memory = self._library.llama_get_memory(self._context)
        self._sequences, self._given = sequences, 0

    def slots(self, *, rows: int, columns: int) -> Any:
        """The next rows of those there is room for."""
        del columns
        if self._given + rows > self._sequences:
            raise ConfigError(f"{self._given + rows} rows are more than the {self._sequences} sequences")
        found = Sequences(self._memory, self._library, first=self._given, rows=rows)
        self._given += rows
        return found

    def run(self, step: Step) -> Float[Tensor, "N V"]:
        """Logits behind every written token, in order, then behind every last chunk, in their order."""
        writing, reading = cast("Sequences", step.writing), cast("Sequences", step.reading)
        entries = list(_entries(step, writing.first, reading.first))
        parts = [self._decode(entries[at : at + BATCH_TOKENS]) for at in range(0, len(entries), BATCH_TOKENS)]
        return torch.from_numpy(np.concatenate(parts))

    def close(self) -> None:
        """Frees what llama.cpp holds."""
        if self._context is not None:
            self._library.llama_free(self._context)
            self._library.llama_model_free(self._weights)
            self._context = self._weights = self._memory = None

    def __del__(self) -> None:
        if getattr(self, "_context", None) is not None:
            self.close()

    def _opened_context(self, sequences: int, columns: int, threads: int, precision: Precision) -> Any:
        settings = self._library.llama_context_default_params()
        settings.n_ctx = sequences * columns
        settings.n_batch = settings.n_ubatch = min(BATCH_TOKENS, settings.n_ctx)
        settings.n_seq_max = sequences
        settings.n_threads = settings.n_threads_batch = threads
        settings.kv_unified = True  # sequences share cells, so that a copy copies nothing
        settings.type_k = settings.type_v = KEPT_IN["f32" if precision == "f32" else "f16"]
        settings.flash_attn_type = PLAIN_ATTENTION
        settings.no_perf = True
        context = self._library.llama_init_from_model(self._weights, settings)
        if not context:
            raise ArtifactError(
                f"llama.cpp has no room for {sequences} sequences of {columns} tokens: take fewer"
            )
        return context

    def _decode(self, entries: Sequence[tuple[int, int, int, bool]]) -> np.ndarray:
        batch = _Batch(self._library, entries)
        code = self._library.llama_decode(self._context, batch.filled)
        if code:
            raise InvariantError(f"llama.cpp could not read {len(entries)} tokens (its code is {code})")
        wanted = sum(entry[3] for entry in entries)
        size = self.shape.vocab_size
        if not wanted:
            return np.empty((0, size), dtype=np.float32)
        found = np.ctypeslib.as_array(self._library.llama_get_logits(self._context), shape=(wanted, size))
        return np.array(found)


class _Batch:
    """What llama.cpp reads in one call, on memory of its own."""

    def __init__(self, library: Any, entries: Sequence[tuple[int, int, int, bool]]) -> None:
        tokens, places, sequences, wanted = (np.array(part) for part in zip(*entries, strict=True))
        self._tokens = tokens.astype(np.int32)
        self._places = places.astype(np.int32)
        self._sequences = sequences.astype(np.int32)
        self._wanted = wanted.astype(np.int8)
        self._ones = np.ones(len(entries), dtype=np.int32)
        starts = self._sequences.ctypes.data + 4 * np.arange(len(entries), dtype=np.uint64)
        self._pointers = starts.astype(np.uint64)
        whole = ctypes.POINTER(ctypes.c_int32)
        self.filled = library.llama_batch(
            n_tokens=len(entries),
            token=self._tokens.ctypes.data_as(whole),
            embd=None,
            pos=self._places.ctypes.data_as(whole),
            n_seq_id=self._ones.ctypes.data_as(whole),
            seq_id=self._pointers.ctypes.data_as(ctypes.POINTER(whole)),
            logits=self._wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )


def _entries(step: Step, writing: int, reading: int) -> Iterator[tuple[int, int, int, bool]]:
    """Token, place, sequence, and whether its logits are wanted; rows begin at these sequences."""
    for row, (token, column) in enumerate(zip(step.tokens, step.columns, strict=True)):
        yield token, column, writing + row, True
    for chunk in step.chunks:
        begin, end = chunk.index * CHUNK, len(chunk.tokens) - 1
        for number, token in enumerate(chunk.tokens):
            wanted = chunk.last and number == end
            yield token, begin + number, reading + chunk.row, wanted


def _opened(library: Any, decoder: LanguageModel, precision: Precision) -> Any:
    """The model's weights in llama.cpp; the file is gone again, its pages stay mapped."""
    with tempfile.TemporaryDirectory(prefix="parley-gguf-") as directory:
        path = Path(directory) / "model.gguf"
        export_weights(decoder, path, precision=precision)
        settings = library.llama_model_default_params()
        weights = library.llama_model_load_from_file(str(path).encode(), settings)
    if not weights:
        raise ArtifactError("llama.cpp cannot open this model")
    return weights


def _library() -> Any:
    try:
        import llama_cpp
    except ImportError:
        raise ConfigError(
            "the engine llama.cpp needs its package, which is compiled as it is installed: "
            "pip install 'parley[llama]'"
        ) from None
    logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)  # it tells stderr all it does
    return llama_cpp
