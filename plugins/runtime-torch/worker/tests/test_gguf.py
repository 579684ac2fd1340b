from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tessera_worker.errors import WorkerError
from tessera_worker.gguf import convert_gguf
from tessera_worker.models import load
from tessera_worker.protocol import Load
from tessera_worker.score import Row, score

from .models import open_model
from .reference import quiet

VARIABLE = "TESSERA_SMOLLM2"


def smollm2() -> Path:
    file = os.environ.get(VARIABLE)
    if not file:
        pytest.skip(f"{VARIABLE} names no SmolLM2-135M-Instruct .gguf file")
    return Path(file)


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gguf") / "smollm2"
    convert_gguf(str(smollm2()), str(folder), "bfloat16")
    return folder


def test_a_converted_model_has_the_files_of_a_hugging_face_folder(converted):
    names = {path.name for path in converted.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors"} <= names
    assert {"tokenizer.json", "tokenizer_config.json"} <= names
    config = json.loads((converted / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["vocab_size"] == 49152 and config["num_hidden_layers"] == 30
    assert (config["num_attention_heads"], config["num_key_value_heads"]) == (9, 3)
    assert config["dtype"] == "bfloat16" and config["tie_word_embeddings"] is True
    assert str(smollm2().parent) not in "".join(
        path.read_text() for path in converted.iterdir() if path.suffix in (".json", ".jinja")
    )


def test_its_tokenizer_has_the_vocabulary_the_end_of_text_and_the_chat_template(converted):
    tokenizer = AutoTokenizer.from_pretrained(converted, local_files_only=True)
    assert len(tokenizer) == 49152
    assert tokenizer.eos_token == "<|im_end|>"
    end = json.loads((converted / "generation_config.json").read_text())["eos_token_id"]
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in (end if isinstance(end, list) else [end])
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}], tokenize=False, add_generation_prompt=True
    )
    assert chat.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
    text = "The capital of France is Paris, 12345 people!\n\n  ünïcödé"
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.convert_tokens_to_ids("<|im_start|>") == tokenizer("<|im_start|>").input_ids[-1]


def test_its_weights_are_those_of_the_gguf_file(converted):
    source = smollm2()
    own = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.bfloat16)
    expected = own.state_dict()
    for name, weight in load(Load(str(converted), "cpu", "bfloat16")).module.state_dict().items():
        assert torch.equal(weight, expected[name]), name


def test_it_knows_english(converted):
    tokenizer = AutoTokenizer.from_pretrained(converted, local_files_only=True)
    ids = tokenizer("The capital of France is").input_ids
    (result,), _ = score(open_model(converted), [Row(ids, tokenizer(" Paris").input_ids, None)], [], **quiet)
    assert tokenizer.decode([result.predicted[0]]) == " Paris"


def test_converting_again_gives_equal_bytes(converted, tmp_path):
    convert_gguf(str(smollm2()), str(tmp_path / "again"), "bfloat16")
    for path in converted.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_file_that_is_no_gguf_is_invalid(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"nothing")
    with pytest.raises(WorkerError, match="no GGUF file") as caught:
        convert_gguf(str(tmp_path / "x.gguf"), str(tmp_path / "out"), "float32")
    assert caught.value.reason == "InvalidModel"
    with pytest.raises(WorkerError, match="cannot be read"):
        convert_gguf(str(tmp_path / "none.gguf"), str(tmp_path / "out"), "float32")


def test_a_truncated_file_is_invalid_and_leaves_nothing(tmp_path):
    (tmp_path / "x.gguf").write_bytes(smollm2().read_bytes()[:3_000_000])
    with pytest.raises(WorkerError) as caught:
        convert_gguf(str(tmp_path / "x.gguf"), str(tmp_path / "out"), "float32")
    assert caught.value.reason == "InvalidModel"
    assert [path.name for path in tmp_path.iterdir()] == ["x.gguf"]


def test_a_folder_that_is_there_is_kept(tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(WorkerError, match="is there already") as caught:
        convert_gguf(str(tmp_path / "x.gguf"), str(tmp_path / "out"), "float32")
    assert caught.value.reason == "InvalidRequest"
