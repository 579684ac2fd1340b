"""The plan's attention and cache in a Hugging Face model, for `model.generate` and forward passes.

handle = patch(model)
model.generate(**inputs, max_new_tokens=100)
handle.unpatch()
"""

import inspect
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import causal_mask_function

from .attend import attend
from .constants import HEAD_DIM, KV_HEADS, LAYERS, QUERY_HEADS
from .plan_cache import OWNER, PlanCache, real_tokens
from .prefill import windowed_prefill
from .spans import layer_windows

NAME = "tessera_kernels"
"""Name of the attention in transformers."""


class Patch:
    """A patched model. As a context manager it takes the patch back at the end."""

    def __init__(self, model: PreTrainedModel, length: int | None, step: int | None, slack: int) -> None:
        self.length, self.step, self.slack = length, step, slack
        self._model = model
        self._before: str = model.config._attn_implementation
        self._argument = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
        self._modules = [m for m in model.modules() if isinstance(getattr(m, "layer_idx", None), int)]
        for module in self._modules:
            _patched[module] = self
        model.set_attn_implementation(NAME)
        prepare = model._prepare_cache_for_generation

        def prepare_cache(
            generation_config: Any, model_kwargs: dict[str, Any], mode: Any, batch: int, longest: int, *more: Any
        ) -> Any:
            self._prepare(generation_config, model_kwargs, longest + 1)
            return prepare(generation_config, model_kwargs, mode, batch, longest, *more)

        model._prepare_cache_for_generation = prepare_cache

    def cache(self, length: int | None = None) -> PlanCache:
        """An empty cache to pass as `past_key_values` (`cache`); ``length`` instead of the patch's."""
        return PlanCache(self.length if length is None else length, self.step, self.slack)

    def _prepare(self, generation_config: Any, model_kwargs: dict[str, Any], end: int) -> None:
        given = model_kwargs.get(self._argument)
        if given is None and generation_config.use_cache is not False:
            if generation_config.cache_implementation not in (None, "dynamic"):
                raise ValueError("the model is patched and brings its own cache; leave out cache_implementation")
            cache = self.cache()
            cache.end = end
            positions = model_kwargs.get("position_ids")
            if cache.planned is None and cache.step is None and positions is not None:
                # The first step may be only a part of the prompt.
                cache.planned = cache.plan(int(positions.max()) + 1, positions.shape[-1])
            model_kwargs[self._argument] = cache

    def unpatch(self) -> None:
        """Gives the model its own attention and cache back."""
        if _patched.get(self._modules[0]) is self:
            for module in self._modules:
                del _patched[module]
            del self._model._prepare_cache_for_generation
            self._model.set_attn_implementation(self._before)

    def __enter__(self) -> "Patch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unpatch()


_patched: WeakKeyDictionary[torch.nn.Module, Patch] = WeakKeyDictionary()


def patch(model: PreTrainedModel, *, length: int | None = None, step: int | None = None, slack: int = 0) -> Patch:
    """Gives a model the plan's attention and cache; refuses a model that the plan was not made for.

    ``length``: N of the spans; by default that of the first prompt, and of the tokens to be generated where
    constants.LENGTH says so. ``step``: N grows with what is generated, in steps of so many tokens. ``slack``: tokens
    that can always be taken back from the cache, for assisted generation.
    """
    problem = _unsupported(model)
    if problem is not None:
        raise ValueError(f"{type(model).__name__}: {problem}")
    return Patch(model, length, step, slack)


def _unsupported(model: PreTrainedModel) -> str | None:
    config = model.config
    if config.is_encoder_decoder or config.get_text_config() is not config:
        return "only decoders of text are supported; patch the language model inside"
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    shape, planned = (config.num_hidden_layers, heads, kv_heads, dim), (LAYERS, QUERY_HEADS, KV_HEADS, HEAD_DIM)
    if shape != planned:
        return f"the plan is for (layers, query heads, KV heads, head dimension) {planned}, the model has {shape}"
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        return f"layers of {', '.join(sorted(kinds - {'full_attention'}))}: only full attention can follow a plan"
    for name in ("sliding_window", "attention_chunk_size"):
        if getattr(config, name, None) is not None and getattr(config, "use_sliding_window", True):
            return f"its own {name} of {getattr(config, name)}: only full attention can follow a plan"
    if getattr(config, "attn_logit_softcapping", None) is not None:
        return "attention logits are soft-capped, which the kernels do not compute"
    if len(set((getattr(model, "hf_device_map", None) or {}).values())) > 1:
        return "spread over several devices, which the cache does not support"
    modules = [m for m in model.modules() if isinstance(getattr(m, "layer_idx", None), int)]
    if not modules or not getattr(model, "_supports_attention_backend", False):
        return "its attention cannot be replaced through transformers' AttentionInterface"
    if any(module in _patched for module in modules):
        return "patched already; unpatch it first"
    return None


def _mask(
    *, attention_mask: torch.Tensor | None = None, mask_function: Any = causal_mask_function, **rest: Any
) -> torch.Tensor | None:
    """The padding as it is, bool [batch, columns]: attention reads which tokens are real from it."""
    if mask_function is not causal_mask_function:
        raise ValueError("only causal attention is supported, not packed sequences or masks of the model's own")
    return attention_mask


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """query: [batch, query heads, tokens, dim]; key, value: [batch, KV heads, tokens, dim]. Returns [batch, tokens,
    query heads, dim].
    """
    patched = _patched.get(module)
    if patched is None:
        raise ValueError(f"{type(module).__name__} is not patched: call patch(model)")
    if query.requires_grad and torch.is_grad_enabled():
        raise ValueError("the kernels have no backward pass; run the model under torch.no_grad()")
    if dropout:
        raise ValueError("attention_dropout is not supported; call model.eval()")
    for name in ("sliding_window", "softcap", "s_aux", "position_bias"):
        if more.get(name) is not None:
            raise ValueError(f"the model's attention uses {name}, which the kernels do not compute")
    if attention_mask is not None and attention_mask.ndim != 2:
        raise ValueError("give the attention mask as [batch, tokens]")
    layer: int = module.layer_idx  # type: ignore[assignment]
    owner: PlanCache | None = getattr(key, OWNER, None)
    if owner is None:
        out = _uncached(patched, layer, query, key, value, attention_mask, scaling)
    else:
        kv = owner.begin(key, attention_mask) if layer == 0 else owner.kv
        assert kv is not None
        out = attend(kv, layer, query, key, value, scaling)
    return out.transpose(1, 2).contiguous(), None


def _uncached(
    patched: Patch,
    layer: int,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float | None,
) -> torch.Tensor:
    if key.shape[2] != query.shape[2]:
        raise ValueError("the cache is not the plan's: call model.generate without one, or with patch(model).cache()")
    starts = counts = None
    longest = key.shape[2]
    if mask is not None:
        starts, counts = real_tokens(mask)
        longest = int(counts.max())
    windows = layer_windows(layer, longest if patched.length is None else patched.length)
    return windowed_prefill(query, key, value, windows, scale, starts=starts, lengths=counts)


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, _mask)
