"""The whole generate loop of a model of the plan's shape with random weights: dense beside the plan, at equal memory.

Both keep static caches, decode in a CUDA graph of the whole model, and read prompts row by row. Dense is transformers'
StaticCache with torch's scaled_dot_product_attention, keys and values of the KV heads not repeated and without a mask,
over exactly the slots that are filled at the end: the most that a dense model can do. Rows are as many as fit the
memory, by arithmetic, and the run shows that they do. Time of a batch = rows x prefill of one row + steps; `--whole`
reads all prompts instead of one.
"""

import argparse
import inspect
import platform
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
import triton
from tessera_kernels import constants, density
from tessera_kernels.cache import KVCache
from tessera_kernels.huggingface import patch
from tessera_kernels.plan_cache import PlanCache
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, LlamaConfig, LlamaForCausalLM, StaticCache

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
ROW = 2 * constants.KV_HEADS * constants.HEAD_DIM * constants.LAYERS
"""Elements that a token takes in a dense cache."""


def dense(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: None, **more: Any
) -> tuple[torch.Tensor, None]:
    tokens = query.shape[2]
    if tokens > 1:
        key, value = key[:, :, :tokens], value[:, :, :tokens]
    out = scaled_dot_product_attention(query, key, value, is_causal=tokens > 1, enable_gqa=True)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register("dense_static", dense)
AttentionMaskInterface.register("dense_static", lambda *args, **kwargs: None)


class Measured(NamedTuple):
    rows: int
    cache: int
    """Bytes."""
    peak: int
    """Bytes of memory allocated at most."""
    prefill: float
    """Seconds per row."""
    step: float
    """Seconds."""


def synchronise() -> None:
    if CUDA:
        torch.cuda.synchronize()


def seconds(call: Callable[[], object]) -> float:
    synchronise()
    begin = time.perf_counter()
    call()
    synchronise()
    return time.perf_counter() - begin


class Loop:
    """The model with one kind of cache for a prompt of `length` tokens and `new` more."""

    def __init__(self, net: Any, length: int, new: int) -> None:
        self.net, self.length, self.new = net, length, new

    def empty(self, rows: int) -> Any:
        raise NotImplementedError

    def take(self, cache: Any, row: int, one: Any) -> None:
        """Copies the only row of `one` to a row of `cache`."""
        raise NotImplementedError

    def begin(self, cache: Any, tokens: int) -> None:
        """Says that all rows hold so many tokens."""
        raise NotImplementedError

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor, cache: Any) -> torch.Tensor:
        out = self.net(
            input_ids=tokens, position_ids=positions, logits_to_keep=1, use_cache=True, **{ARGUMENT[0]: cache}
        )
        return out.logits[:, -1].argmax(-1, keepdim=True)

    def prefill(self) -> Any:
        """A cache of one row."""
        one = self.empty(1)
        ids = torch.randint(self.net.config.vocab_size, (1, self.length), device=DEVICE)
        self.forward(ids, torch.arange(self.length, device=DEVICE)[None], one)
        return one

    @torch.inference_mode()
    def measure(self, rows: int, whole: bool) -> Measured:
        if CUDA:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        self.prefill()
        prefill = seconds(self.prefill)
        cache, one = self.empty(rows), self.prefill()
        if whole:
            prefill = seconds(lambda: [self.take(cache, row, self.prefill()) for row in range(rows)]) / rows
        else:
            for row in range(rows):
                self.take(cache, row, one)
        del one
        tokens = torch.zeros((rows, 1), dtype=torch.long, device=DEVICE)
        positions = torch.full((rows, 1), self.length, dtype=torch.long, device=DEVICE)

        def step() -> None:
            tokens.copy_(self.forward(tokens, positions, cache))
            positions.add_(1)

        self.begin(cache, self.length)
        step()
        replay: Callable[[], object] = step
        if CUDA:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step()
            replay = graph.replay
        self.begin(cache, self.length)
        positions.fill_(self.length)
        taken = seconds(lambda: [replay() for _ in range(self.new)]) / self.new
        peak = torch.cuda.max_memory_allocated() if CUDA else 0
        return Measured(rows, self.bytes(rows), peak, prefill, taken)

    def bytes(self, rows: int) -> int:
        raise NotImplementedError


class Dense(Loop):
    def empty(self, rows: int) -> StaticCache:
        cache = StaticCache(self.net.config, max_cache_len=self.length + self.new)
        cache.early_initialization(rows, constants.KV_HEADS, constants.HEAD_DIM, self.net.dtype, DEVICE)
        return cache

    def take(self, cache: StaticCache, row: int, one: StaticCache) -> None:
        for to, source in zip(cache.layers, one.layers, strict=True):
            to.keys[row, :, : self.length] = source.keys[0, :, : self.length]
            to.values[row, :, : self.length] = source.values[0, :, : self.length]

    def begin(self, cache: StaticCache, tokens: int) -> None:
        for layer in cache.layers:
            layer.cumulative_length.fill_(tokens)

    def bytes(self, rows: int) -> int:
        return rows * (self.length + self.new) * ROW * self.net.dtype.itemsize


class Planned(Loop):
    @property
    def n(self) -> int:
        return self.length if constants.LENGTH == "prompt" else self.length + self.new

    def empty(self, rows: int) -> PlanCache:
        cache = PlanCache(self.n)
        cache.kv = KVCache(rows, self.n, self.net.dtype, DEVICE)
        return cache

    def take(self, cache: PlanCache, row: int, one: PlanCache) -> None:
        assert cache.kv is not None and one.kv is not None
        for to, source in zip(cache.kv.layers, one.kv.layers, strict=True):
            to.keys[row] = source.keys[0]
            to.values[row] = source.values[0]

    def begin(self, cache: PlanCache, tokens: int) -> None:
        assert cache.kv is not None
        cache.columns = tokens
        cache.kv.lengths.fill_(tokens)

    def bytes(self, rows: int) -> int:
        return KVCache(rows, self.n, self.net.dtype, "meta").bytes()


ARGUMENT = ["cache"]
"""What the model calls its cache."""


def build(options: argparse.Namespace) -> LlamaForCausalLM:
    config = LlamaConfig(
        hidden_size=options.hidden,
        intermediate_size=options.intermediate,
        vocab_size=options.vocabulary,
        num_hidden_layers=constants.LAYERS,
        num_attention_heads=constants.QUERY_HEADS,
        num_key_value_heads=constants.KV_HEADS,
        head_dim=constants.HEAD_DIM,
        max_position_embeddings=max(options.lengths) + options.new,
        attn_implementation="dense_static",
    )
    torch.set_default_dtype(torch.bfloat16 if CUDA else torch.float32)
    with DEVICE:
        net = LlamaForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    parameters = inspect.signature(net.forward).parameters
    ARGUMENT[0] = "cache" if "cache" in parameters else "past_key_values"
    return net


def line(length: int, kind: str, got: Measured, new: int) -> str:
    total = got.rows * got.prefill + new * got.step
    return (
        f"| {length} | {kind} | {got.rows} | {got.cache / 1e9:.1f} | {got.peak / 1e9:.1f} | {1000 * got.prefill:.0f} "
        f"| {1000 * got.step:.2f} | {got.rows / got.step:.0f} | {total:.1f} | {got.rows * new / total:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[4096, 8192, 16384], help="tokens of the prompt")
    parser.add_argument("--new", type=int, default=128, help="tokens to generate")
    parser.add_argument("--memory", type=float, help="bytes of the device to use; default: 0.92 of it")
    parser.add_argument("--hidden", type=int, default=constants.QUERY_HEADS * constants.HEAD_DIM)
    parser.add_argument("--intermediate", type=int, default=14336)
    parser.add_argument("--vocabulary", type=int, default=128256)
    parser.add_argument("--rows", type=int, help="instead of as many as fit")
    parser.add_argument("--whole", action="store_true", help="read every row's prompt")
    options = parser.parse_args()
    if not CUDA and options.rows is None:
        sys.exit("a CUDA GPU is needed, or --rows and a tiny model in Triton's interpreter (TRITON_INTERPRET=1)")
    torch.manual_seed(0)
    net = build(options)
    weights = sum(p.numel() * p.element_size() for p in net.parameters())
    name, memory = "CPU", 0.0
    if CUDA:
        name = torch.cuda.get_device_name()
        memory = options.memory or 0.92 * torch.cuda.get_device_properties(DEVICE).total_memory
    print(f"plan {constants.PLAN}; {name}, torch {torch.__version__}, triton {triton.__version__}, Python")
    print(f"{platform.python_version()}; {weights / 1e9:.1f} GB of weights, {memory / 1e9:.1f} GB to use;")
    print(f"prompt of N tokens and {options.new} generated; {net.dtype}\n")
    print("| N | cache | rows | cache GB | peak GB | prefill ms/row | step ms | decode tokens/s | batch s | tokens/s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for length in options.lengths:
        # A row that is being read: its activations and its own cache.
        spare = length * (6 * options.hidden + 3 * options.intermediate + ROW) * net.dtype.itemsize + 5e8

        def fit(loop: Loop, spare: float = spare) -> int:
            rows = int((memory - weights - spare) // loop.bytes(1)) if options.rows is None else options.rows
            if rows < 1:
                sys.exit(f"not even one row of {loop.length} tokens fits")
            return rows

        plain = Dense(net, length, options.new)
        most = fit(plain)
        with (
            sdpa_kernel([SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION], set_priority=True)
            if CUDA
            else nullcontext()
        ):
            print(line(length, "dense", plain.measure(most, options.whole), options.new), flush=True)
        with patch(net, length=length):
            ours = Planned(net, length, options.new)
            kind = f"plan, {100 * density(ours.n):.0f}%"
            rows = fit(ours)
            if rows != most:
                print(line(length, kind, ours.measure(most, False), options.new), flush=True)
            print(line(length, kind, ours.measure(rows, options.whole), options.new), flush=True)


if __name__ == "__main__":
    main()
