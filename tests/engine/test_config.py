"""A converted folder's config is checked to the last key: every fault is one line that names it."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2audio_mlx.config import ModelConfig, parse_config, read_config
from lfm2audio_mlx.errors import ConfigError
from lfm2audio_mlx.installed import EMBEDDED

Where = tuple[str | int, ...]
WHERE = "folder/config.json"

DETOKENIZER: dict[str, Any] = {
    "sample_rate": 24_000,
    "upsample_factor": 6,
    "output_size": 1282,
    "hop_length": 320,
    "lfm": {
        "vocab_size": 0,
        "hidden_size": 64,
        "layer_types": ["conv", "sliding_attention"],
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "ff_dim": 128,
        "conv_kernel_size": 3,
        "conv_bias": False,
        "norm_eps": 1e-5,
        "rope_theta": 1e6,
        "sliding_window": 30,
    },
}


def embedded() -> dict[str, Any]:
    return json.loads((EMBEDDED / "config.json").read_text("utf-8"))


def everything() -> dict[str, Any]:
    """The embedded config with each optional part there."""
    record = {"model.lfm.embed_tokens": {"bits": 4, "group_size": 64}}
    return embedded() | {"detokenizer": DETOKENIZER, "quantization": record}


def walk(value: Any, at: Where = ()) -> list[Where]:
    """The place of every value below this one."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [place for key, inner in items for place in [(*at, key), *walk(inner, (*at, key))]]


def get(data: Any, at: Where) -> Any:
    for key in at:
        data = data[key]
    return data


def changed(at: Where, value: Any) -> dict[str, Any]:
    data = copy.deepcopy(everything())
    get(data, at[:-1])[at[-1]] = value
    return data


def removed(at: Where) -> dict[str, Any]:
    data = copy.deepcopy(everything())
    del get(data, at[:-1])[at[-1]]
    return data


def dotted(at: Where) -> str:
    """As messages write it: a.b[0]."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in at)
    return text.lstrip(".")


def refusal(data: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(data, WHERE)
    message = str(caught.value)
    assert message.startswith(f"{WHERE}: ") and "\n" not in message
    return message


PLACES = walk(everything())
FREE = {("prompts", "voices"), ("quantization",)}  # objects whose keys are names
OBJECTS = [at for at in [(), *PLACES] if isinstance(get(everything(), at), dict) and at not in FREE]
KEYS = [at for at in PLACES if at[:-1] in OBJECTS]
SCALARS = [at for at in PLACES if not isinstance(get(everything(), at), dict | list)]
NUMBERS = [at for at in SCALARS if type(get(everything(), at)) in (int, float)]
SIZES = [at for at in SCALARS if type(get(everything(), at)) is int]
MAY_BE_ZERO = {"vocab_size", "sliding_window", "n_layers", "layers", "num_layers"} | {
    "n_residual_layers"
}


def test_the_embedded_config_parses():
    config = read_config(EMBEDDED)
    assert (config.codebooks, config.lfm.hidden_size, config.detokenizer) == (8, 192, None)
    assert config.lfm.layer_types == ("conv", "full_attention") * 3
    assert config.lfm.head_dim == 32
    assert config.mimi and config.mimi.seanet.ratios == (8, 6, 5, 4)
    assert config.mimi.transformer.max_period == 10_000.0


def test_every_part_parses():
    config = parse_config(everything(), WHERE)
    assert config.detokenizer and config.detokenizer.lfm.sliding_window == 30
    assert config.quantization["model.lfm.embed_tokens"].group_size == 64


@pytest.mark.parametrize("at", KEYS, ids=dotted)
def test_a_missing_key_is_named(at: Where):
    assert f"'{dotted(at)}' is missing" in refusal(removed(at))


@pytest.mark.parametrize("at", OBJECTS, ids=dotted)
def test_an_unknown_key_is_named(at: Where):
    place = (*at, "surprise")
    assert f"'{dotted(place)}' is unknown" in refusal(changed(place, 1))


@pytest.mark.parametrize("at", PLACES, ids=dotted)
def test_a_value_of_another_type_is_named(at: Where):
    right = get(everything(), at)
    for wrong in ("7", 7, 7.5, True, [7], {"a": 7}, None):
        fits = type(wrong) is type(right) or (type(right) is float and type(wrong) is int)
        optional = wrong is None and at in {("mimi",), ("detokenizer",)}
        if not fits and not optional:
            assert dotted(at) in refusal(changed(at, wrong))


@pytest.mark.parametrize("at", NUMBERS, ids=dotted)
def test_a_negative_number_is_refused_by_name(at: Where):
    assert str(at[-1]) in refusal(changed(at, type(get(everything(), at))(-1)))


@pytest.mark.parametrize("at", [at for at in SIZES if at[-1] not in MAY_BE_ZERO], ids=dotted)
def test_a_size_of_zero_is_refused(at: Where):
    refusal(changed(at, 0))


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**400])
def test_a_number_that_is_none_is_refused(value: float):
    assert "rope_theta" in refusal(changed(("lfm", "rope_theta"), value))


CONTRADICTIONS: list[tuple[Where, Any, str]] = [
    (("format",), 2, "format 2 is not 1"),
    (("dtype",), "int8", "dtype 'int8'"),
    (("features", "features"), 80, "conformer.features differ"),
    (("codebook_size",), 2049, "codebook_size"),
    (("features", "win_length"), 513, "win_length exceeds n_fft"),
    (("conformer", "n_heads"), 3, "n_heads"),
    (("conformer", "conv_kernel_size"), 8, "conv_kernel_size is even"),
    (("conformer", "subsampling_factor"), 6, "subsampling_factor"),
    (("conformer", "subsampling_factor"), 1, "subsampling_factor"),
    (("lfm", "num_attention_heads"), 5, "hidden_size"),
    (("lfm", "num_key_value_heads"), 4, "num_key_value_heads"),
    (("lfm", "layer_types"), ["conv", "mamba"], "mamba"),
    (("lfm", "sliding_window"), 30, "sliding_window contradicts"),
    (("lfm", "layer_types"), ["sliding_attention"], "sliding_window contradicts"),
    (("detokenizer", "lfm", "sliding_window"), 0, "sliding_window contradicts"),
    (("depthformer", "dim"), 96, "twice the heads"),
    (("depthformer", "kv_heads"), 5, "kv_heads"),
    (("mimi", "seanet", "compress"), 3, "compress"),
    (("mimi", "transformer", "num_heads"), 128, "num_heads"),
    (("detokenizer", "hop_length"), 300, "hop_length"),
    (("detokenizer", "hop_length"), 1280 // 256, "n_fft - hop_length is odd"),
]


@pytest.mark.parametrize(("at", "value", "message"), CONTRADICTIONS)
def test_a_contradiction_is_explained(at: Where, value: Any, message: str):
    said = refusal(changed(at, value))
    assert message in said
    if len(at) > 1 and at != ("features", "features"):
        assert dotted(at[:-1]) in said  # and where it is


def test_an_odd_encoder_is_refused():
    data = changed(("conformer", "d_model"), 125)
    data["conformer"]["n_heads"] = 5
    assert "d_model is odd" in refusal(data)


def test_a_checkpoint_without_a_decoder_is_refused():
    assert "neither mimi nor detokenizer" in refusal(embedded() | {"mimi": None})


def test_an_original_config_is_shown_the_way():
    assert "lfm convert" in refusal({"lfm": {}, "codebooks": 8})
    assert "lfm convert" in refusal({})


@pytest.mark.parametrize("data", [None, [], "text", 7, [everything()]])
def test_what_is_no_object_is_refused(data: Any):
    assert "must be an object" in refusal(data)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"not json", b"\xff\xfe", b'{"format": 1', b"[" * 100_000]
)
def test_a_garbled_file_is_named_in_one_line(tmp_path: Path, content: bytes):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"config\.json: not readable as JSON") as caught:
        read_config(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"config\.json: not there"):
        read_config(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=400)
@given(at=st.sampled_from(PLACES), value=JSON)
def test_any_value_anywhere_gives_a_config_or_a_config_error(at: Where, value: Any):
    try:
        assert isinstance(parse_config(changed(at, value), WHERE), ModelConfig)
    except ConfigError as error:
        assert str(error).startswith(WHERE)


@settings(max_examples=100)
@given(JSON)
def test_any_file_gives_a_config_error(data: Any):
    refusal(data)
