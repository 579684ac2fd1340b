from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    T5Config,
)

from tessera_worker.errors import WorkerError
from tessera_worker.models import load, place
from tessera_worker.protocol import Load

from .models import GQA, SHAPE, make, open_model

SMALL = {**SHAPE, "num_key_value_heads": 2}


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder(GQA), tmp_path / "model"))


def refused(folder: Path) -> WorkerError:
    with pytest.raises(WorkerError) as caught:
        open_model(folder)
    return caught.value


def edit(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


def test_a_loaded_model_says_what_it_is(folder):
    model = open_model(folder(GQA))
    assert (model.layers, model.query_heads, model.vocabulary) == (2, (4, 4), 97)
    assert (model.dtype, model.device.type, model.device_map) == (torch.float32, "cpu", None)
    assert not model.module.training and not any(p.requires_grad for p in model.module.parameters())


def test_auto_is_float32_on_the_cpu(copy):
    AutoModelForCausalLM.from_pretrained(copy, dtype=torch.bfloat16).save_pretrained(copy)
    assert load(Load(str(copy), "cpu", "auto")).dtype == torch.float32
    assert load(Load(str(copy), "cpu", "bfloat16")).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "config",
    [
        Gemma2Config(**SMALL, head_dim=8, sliding_window=16),
        MistralConfig(**SMALL, sliding_window=16),
        Phi3Config(**SMALL, sliding_window=16),
        Qwen2Config(**SMALL, use_sliding_window=True, sliding_window=16, max_window_layers=1),
    ],
    ids=lambda config: config.model_type,
)
def test_sliding_window_layers_are_refused(config, tmp_path):
    error = refused(make(tmp_path, config))
    assert error.reason == "Unsupported"
    assert "sliding" in error.detail and str(tmp_path) in error.detail


def test_a_window_that_drops_nothing_is_none(tmp_path):
    open_model(make(tmp_path / "a", MistralConfig(**SMALL, sliding_window=256)))
    open_model(make(tmp_path / "b", Qwen2Config(**SMALL, use_sliding_window=False, sliding_window=16)))


def test_an_encoder_decoder_is_refused(tmp_path):
    T5Config().save_pretrained(tmp_path)
    error = refused(tmp_path)
    assert error.reason == "Unsupported" and "encoder-decoder" in error.detail


def test_a_model_without_attention_in_each_layer_is_refused(tmp_path):
    from transformers import Mamba2Config

    config = Mamba2Config(
        vocab_size=97, hidden_size=32, num_hidden_layers=1, state_size=8, num_heads=8, head_dim=8, n_groups=1
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    assert refused(tmp_path).reason == "Unsupported"


def test_an_unknown_model_type_is_unsupported_and_its_code_is_not_run(copy):
    (copy / "modeling_own.py").write_text("raise SystemExit('ran')")
    edit(copy, model_type="own", auto_map={"AutoModelForCausalLM": "modeling_own.Own"})
    error = refused(copy)
    assert error.reason == "Unsupported" and "'own'" in error.detail


def test_quantised_weights_are_unsupported(copy):
    edit(copy, quantization_config={"quant_method": "gptq", "bits": 4})
    error = refused(copy)
    assert error.reason == "Unsupported" and "quantised" in error.detail


def test_pickle_weights_are_refused(copy):
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    error = refused(copy)
    assert error.reason == "Unsupported"
    assert "pytorch_model.bin" in error.detail and "safetensors" in error.detail


def test_truncated_weights_are_invalid_and_named(copy):
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    error = refused(copy)
    assert error.reason == "InvalidModel" and str(file) in error.detail


def test_a_missing_shard_is_named(copy):
    AutoModelForCausalLM.from_pretrained(copy).save_pretrained(copy, max_shard_size="20KB")
    (copy / "model.safetensors").unlink(missing_ok=True)
    assert open_model(copy).layers == 2
    shard = sorted(copy.glob("model-*.safetensors"))[1]
    shard.unlink()
    error = refused(copy)
    assert error.reason == "InvalidModel" and str(shard) in error.detail


def test_a_missing_tensor_is_named_instead_of_made_up(copy):
    file = copy / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.self_attn.q_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    error = refused(copy)
    assert error.reason == "InvalidModel" and "model.layers.1.self_attn.q_proj.weight" in error.detail


def test_weights_that_are_not_numbers_are_invalid_and_named(copy):
    file = copy / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"][3] = torch.nan
    save_file(tensors, file, metadata={"format": "pt"})
    error = refused(copy)
    assert error.reason == "InvalidModel" and "model.norm.weight" in error.detail


@pytest.mark.parametrize(
    ("content", "message"), [(None, "missing"), ("{", "cannot be read"), ("[]", "no JSON")]
)
def test_a_bad_config_is_invalid(copy, content, message):
    file = copy / "config.json"
    file.unlink() if content is None else file.write_text(content)
    error = refused(copy)
    assert error.reason == "InvalidModel" and message in error.detail


def test_no_folder_is_invalid(tmp_path):
    assert refused(tmp_path / "none").reason == "InvalidModel"


def test_weights_are_spread_where_one_gpu_is_too_small():
    gib = 1 << 30
    assert place(10 * gib, torch.bfloat16, "auto", [20 * gib, 20 * gib]) == {"": 0}
    assert place(18 * gib, torch.bfloat16, "auto", [20 * gib, 20 * gib]) == "auto"
    assert place(10 * gib, torch.bfloat16, torch.float32, [20 * gib, 20 * gib]) == "auto"
    assert place(18 * gib, torch.float32, torch.bfloat16, [20 * gib, 20 * gib]) == {"": 0}
    # One GPU has to do; if it doesn't, memory runs out and says so.
    assert place(40 * gib, torch.bfloat16, "auto", [20 * gib]) == {"": 0}


def test_llama_with_scaled_rotary_embedding_loads(tmp_path):
    scaling = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    assert open_model(make(tmp_path, LlamaConfig(**SMALL, rope_parameters=scaling))).layers == 2
