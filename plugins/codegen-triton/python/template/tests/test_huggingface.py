"""Patched Hugging Face models against the same models with the plan's mask written out pair by pair, no cache, and
every token computed anew: greedy tokens are equal.
"""

import copy
from typing import Any

import pytest
import torch
from helpers import CUDA, DEVICE
from tessera_kernels import constants, layer_windows, reference

transformers = pytest.importorskip("transformers", minversion="5.17")

from tessera_kernels.huggingface import patch  # noqa: E402
from tessera_kernels.plan_cache import PlanCache  # noqa: E402

B, SINK = constants.BLOCK, constants.SINK
# The second token that is decoded begins a block.
PROMPT, NEW = SINK + 3 * B - 1, 3

pytestmark = pytest.mark.skipif(
    not CUDA and constants.LAYERS * constants.QUERY_HEADS * constants.HEAD_DIM > 2048,
    reason="the interpreter is slow on wide models",
)

planned = [PROMPT]
"""N of the masks."""


def masked(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    windows = layer_windows(module.layer_idx, planned[0])
    out = reference.attention(query, key, value, windows, scaling, query.dtype)
    return out.transpose(1, 2), None


transformers.AttentionInterface.register("masked", masked)
transformers.AttentionMaskInterface.register("masked", lambda *args, **kwargs: None)

COMMON: dict[str, Any] = {
    "hidden_size": 8 * constants.QUERY_HEADS,
    "intermediate_size": 48,
    "num_hidden_layers": constants.LAYERS,
    "num_attention_heads": constants.QUERY_HEADS,
    "num_key_value_heads": constants.KV_HEADS,
    "head_dim": constants.HEAD_DIM,
    "vocab_size": 97,
    "initializer_range": 0.3,
    "max_position_embeddings": 64 * B,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
}


def model(kind: str = "Llama", seed: int = 0, **changes: Any) -> Any:
    torch.manual_seed(seed)
    config = getattr(transformers, f"{kind}Config")(**COMMON | changes)
    return getattr(transformers, f"{kind}ForCausalLM")(config).eval().to(DEVICE)


def draw(seed: int, length: int, rows: int = 1) -> torch.Tensor:
    return torch.randint(2, 97, (rows, length), generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def length_of(prompt: int, new: int) -> int:
    return prompt if constants.LENGTH == "prompt" else prompt + new


def expected(net: Any, row: torch.Tensor, new: int, length: int) -> list[int]:
    """Greedy tokens of one row without padding, N being `length`."""
    planned[0] = length
    before = net.config._attn_implementation
    net.set_attn_implementation("masked")
    out = net.generate(input_ids=row[None], max_new_tokens=new, do_sample=False, use_cache=False)
    net.set_attn_implementation(before)
    return out[0, row.shape[0] :].tolist()


def cache_of(out: Any) -> PlanCache:
    return out["cache"] if "cache" in out else out["past_key_values"]


def argument(net: Any) -> str:
    import inspect

    return "cache" if "cache" in inspect.signature(net.forward).parameters else "past_key_values"


def padded(*lengths: int) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Left-padded ids, their mask, and the rows."""
    rows = [draw(seed, length)[0] for seed, length in enumerate(lengths)]
    width = max(lengths)
    ids = torch.stack([torch.cat([row.new_zeros(width - row.shape[0]), row]) for row in rows])
    return (
        ids,
        (torch.arange(width, device=DEVICE) >= width - torch.tensor(lengths, device=DEVICE)[:, None]).int(),
        rows,
    )


@pytest.mark.parametrize(("kind", "longest"), [("Llama", PROMPT), ("Qwen2", 2 * B + 3)])
def test_batched_generation_with_left_padding_equals_the_mask(kind, longest):
    net = model(kind)
    ids, mask, rows = padded(longest, B + 5)
    with patch(net):
        out = net.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False, return_dict_in_generate=True
        )
    n = length_of(longest, NEW)
    cache = cache_of(out)
    assert cache.kv is not None
    assert (cache.kv.length, cache.columns) == (n, longest + NEW - 1)
    assert cache.kv.lengths.tolist() == [longest + NEW - 1, B + 5 + NEW - 1]
    for row, tokens in zip(rows, out.sequences, strict=True):
        assert tokens[longest:].tolist() == expected(net, row, NEW, n)


def test_a_conversation_goes_on_from_the_cache():
    net = model(seed=1)
    first, turn, n = draw(1, SINK + 2 * B - 1), draw(2, B + 3), SINK + 2 * B
    with patch(net, length=n) as patched:
        cache = patched.cache()
        given = {argument(net): cache}
        one = net.generate(input_ids=first, max_new_tokens=NEW, do_sample=False, **given)
        whole = torch.cat([one, turn], 1)
        copied = copy.deepcopy(cache)
        two = net.generate(input_ids=whole, max_new_tokens=NEW, do_sample=False, **given)
        assert cache.columns == two.shape[1] - 1
        again = net.generate(input_ids=whole, max_new_tokens=1, do_sample=False, **{argument(net): copied})
    assert torch.equal(two[:, : again.shape[1]], again)
    assert one[0, first.shape[1] :].tolist() == expected(net, first[0], NEW, n)
    assert two[0, whole.shape[1] :].tolist() == expected(net, whole[0], NEW, n)


def test_a_prompt_in_chunks_with_a_streamer():
    net, ids, heard = model(seed=2), draw(3, PROMPT), []

    class Tokenizer:
        def decode(self, ids: list[int], **kwargs: Any) -> str:
            return "".join(f"{int(id)} " for id in ids)

    class Streamer(transformers.TextStreamer):
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            heard.append(text)

    with patch(net):
        out = net.generate(
            input_ids=ids,
            max_new_tokens=NEW,
            do_sample=False,
            prefill_chunk_size=B + 7,
            streamer=Streamer(Tokenizer(), skip_prompt=True),
        )
    tokens = out[0, PROMPT:].tolist()
    assert tokens == expected(net, ids[0], NEW, length_of(PROMPT, NEW))
    assert "".join(heard).split() == [str(token) for token in tokens]
    assert len(heard) > 2


def test_beams_share_the_prompt_and_part():
    net, ids = model(seed=3), draw(4, SINK + 2 * B)
    arguments: dict[str, Any] = {"input_ids": ids, "max_new_tokens": 3, "num_beams": 2, "do_sample": False}
    with patch(net):
        ours = net.generate(**arguments)
    planned[0] = length_of(ids.shape[1], 3)
    net.set_attn_implementation("masked")
    assert torch.equal(ours, net.generate(**arguments, use_cache=False))


def test_guesses_are_taken_back():
    net = model(seed=4)
    ids = draw(5, B + 4).repeat(1, 2)
    with patch(net, slack=8):
        out = net.generate(input_ids=ids, max_new_tokens=NEW, do_sample=False, prompt_lookup_num_tokens=3)
    assert out[0, ids.shape[1] :].tolist() == expected(net, ids[0], NEW, length_of(ids.shape[1], NEW))


def test_a_growing_cache_grows_in_its_steps():
    net, ids = model(seed=5), draw(6, 2 * B - 1)
    with patch(net, step=2 * B):
        out = net.generate(input_ids=ids, max_new_tokens=NEW, do_sample=False, return_dict_in_generate=True)
    cache = cache_of(out)
    assert cache.kv is not None
    assert cache.kv.length == 4 * B
    # N was 2 blocks when the prompt was read.
    assert out.sequences[0, ids.shape[1]].item() == expected(net, ids[0], 1, 2 * B)[0]


@torch.no_grad()
def test_a_forward_pass_without_a_cache_has_the_plans_logits():
    net = model(seed=6)
    ids, mask, rows = padded(PROMPT, B + 5)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with patch(net, length=PROMPT):
        ours = net(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits
    planned[0] = PROMPT
    net.set_attn_implementation("masked")
    for row, logits in zip(rows, ours, strict=True):
        exact = net(input_ids=row[None], use_cache=False).logits[0]
        assert torch.allclose(logits[-row.shape[0] :], exact, atol=1e-4)


def test_unpatching_gives_the_model_back():
    net, ids = model(seed=7), draw(7, 12)
    before = net.generate(input_ids=ids, max_new_tokens=2, do_sample=False)
    handle = patch(net)
    with pytest.raises(ValueError, match="patched already"):
        patch(net)
    handle.unpatch()
    handle.unpatch()
    after = net.generate(input_ids=ids, max_new_tokens=2, do_sample=False, return_dict_in_generate=True)
    assert torch.equal(before, after.sequences)
    assert not isinstance(cache_of(after), PlanCache)
    assert "_prepare_cache_for_generation" not in vars(net)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("Llama", {"num_hidden_layers": constants.LAYERS + 1}, "the plan is for"),
        ("Llama", {"head_dim": constants.HEAD_DIM + 2}, "the plan is for"),
        ("Llama", {"num_key_value_heads": constants.QUERY_HEADS}, "the plan is for"),
        ("Qwen2", {"use_sliding_window": True, "max_window_layers": 0}, "only full attention"),
        ("Gemma2", {}, "only full attention|soft-capped"),
    ],
)
def test_a_model_that_the_plan_was_not_made_for_is_refused(kind, changes, message):
    net = model(kind, **changes)
    if "num_key_value_heads" in changes and constants.KV_HEADS == constants.QUERY_HEADS:
        pytest.skip("the plan has a KV head for each query head")
    before = net.config._attn_implementation
    with pytest.raises(ValueError, match=message):
        patch(net)
    assert net.config._attn_implementation == before


def test_what_the_kernels_do_not_compute_is_refused():
    net, ids = model(seed=8, attention_dropout=0.1), draw(8, 12)
    with patch(net, length=12) as patched:
        with pytest.raises(ValueError, match="no backward pass"):
            net(input_ids=ids)
        with torch.no_grad():
            with pytest.raises(ValueError, match="attention_dropout"):
                net.train()(input_ids=ids)
            net.eval()
            with pytest.raises(ValueError, match="cache is not the plan's"):
                foreign = transformers.DynamicCache(config=net.config)
                net(input_ids=ids, **{argument(net): foreign})
                net(input_ids=ids, **{argument(net): foreign})
            with pytest.raises(ValueError, match="leave out cache_implementation"):
                net.generate(input_ids=ids, max_new_tokens=2, cache_implementation="static")
            holes = torch.ones_like(ids)
            holes[0, 5] = 0
            with pytest.raises(ValueError, match="padding between"):
                net(input_ids=ids, attention_mask=holes, **{argument(net): patched.cache()})
            cache = {argument(net): patched.cache()}
            net(input_ids=ids, **cache)
            with pytest.raises(ValueError, match="mask has 3 columns; 12 are cached and 2 are new"):
                net(input_ids=ids[:, :2], attention_mask=holes[:, :3], **cache)
            with pytest.raises(ValueError, match=r"\[11\] real tokens in the cached columns"):
                net(input_ids=ids[:, :2], attention_mask=torch.cat([holes, holes[:, :2]], 1), **cache)
            with pytest.raises(ValueError, match="holds 1 rows, the input has 2"):
                net(input_ids=ids.repeat(2, 1), **cache)
