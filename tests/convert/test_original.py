"""An original config is resolved once: each key read is required, each contradiction refused."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lfm2audio_mlx.errors import ConfigError
from lfm_convert.original import (
    DETOKENIZER_FOLDER,
    MIMI_FILE,
    read_original_config,
)
from lfm_convert.published import MUST_BE, PUBLISHED_MIMI

LAYOUTS = Path(__file__).parents[1] / "reference" / "layouts"
MAIN, CODEC, VOICE = "config.json", "mimi_config.json", f"{DETOKENIZER_FOLDER}/config.json"
Write = Callable[..., Path]

SIZES = ["codebooks", "interleaved_n_text", "interleaved_n_audio"]
SECTIONS = {
    "preprocessor": ["sample_rate", "features", "n_fft", "window_size", "window_stride"],
    "encoder": [
        "feat_in",
        "n_layers",
        "d_model",
        "n_heads",
        "ff_expansion_factor",
        "conv_kernel_size",
        "subsampling_factor",
        "subsampling_conv_channels",
        "xscaling",
    ],
    "lfm": [
        "vocab_size",
        "num_hidden_layers",
        "num_key_value_heads",
        "max_position_embeddings",
        "conv_L_cache",
        "conv_bias",
        "block_auto_adjust_ff_dim",
        "block_ffn_dim_multiplier",
        "block_multiple_of",
        "rope_theta",
    ],
    "depthformer": ["layers", "dim", "tie"],
}
TWICE = {  # written in several keys: all must go before one is missed
    "hidden_size": ["hidden_size", "block_dim", "conv_dim", "conv_dim_out"],
    "num_attention_heads": ["num_attention_heads", "num_heads"],
    "norm_eps": ["norm_eps", "block_norm_eps"],
    "layer_types": ["layer_types", "full_attn_idxs"],
    "block_ff_dim": ["block_ff_dim", "intermediate_size"],
}
CODEC_KEYS = {
    "seanet": list(PUBLISHED_MIMI["seanet"]),
    "quantizer": ["bins", "dimension"],
    "transformer": list(PUBLISHED_MIMI["transformer"]),
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a layout's configs, changed: `edit(files)` gets them by name."""
    return lambda name="v1", edit=None: written(tmp_path, name, edit)


def written(folder: Path, name: str = "v1", edit: Callable[[dict[str, Any]], Any] | None = None):
    files = {
        path.relative_to(LAYOUTS / name).as_posix(): json.loads(path.read_text("utf-8"))
        for path in (LAYOUTS / name).rglob("*.json")
    }
    if edit:
        edit(files)
    for file, data in files.items():
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(data), "utf-8")
    (folder / MIMI_FILE).touch()  # its presence alone says that there is a Mimi
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_original_config(folder)
    message = str(caught.value)
    assert str(folder) in message and "\n" not in message
    return message


def section_set(section: str, **values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda files: files[MAIN][section].update(values)


@pytest.mark.parametrize("key", [*SIZES, *SECTIONS])
def test_a_missing_key_at_the_top_is_named(write: Write, key: str):
    assert key in refusal(write(edit=lambda files: files[MAIN].pop(key)))


@pytest.mark.parametrize(("section", "key"), [(s, k) for s, keys in SECTIONS.items() for k in keys])
def test_a_missing_key_of_a_section_is_named(write: Write, section: str, key: str):
    message = refusal(write(edit=lambda files: files[MAIN][section].pop(key)))
    assert section in message and f"{key}'" in message


@pytest.mark.parametrize("name", TWICE)
def test_what_is_written_twice_is_missed_when_all_are_gone(write: Write, name: str):
    def strip(files: dict[str, Any]) -> None:
        for key in TWICE[name]:
            del files[MAIN]["lfm"][key]

    assert f"{name}'" in refusal(write(edit=strip))


@pytest.mark.parametrize("key", [key for keys in TWICE.values() for key in keys])
def test_any_one_of_its_names_may_be_missing(tmp_path: Path, key: str):
    (tmp_path / "whole").mkdir()
    (tmp_path / "less").mkdir()
    whole = read_original_config(written(tmp_path / "whole"))
    less = written(tmp_path / "less", edit=lambda files: files[MAIN]["lfm"].pop(key))
    assert read_original_config(less) == whole


@pytest.mark.parametrize(("section", "key"), [(s, k) for s, ks in CODEC_KEYS.items() for k in ks])
def test_a_missing_key_of_the_codec_is_named(write: Write, section: str, key: str):
    message = refusal(write(edit=lambda files: files[CODEC][section].pop(key)))
    assert CODEC in message and f"{section}.{key}'" in message


@pytest.mark.parametrize(
    "key", ["hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"]
)
def test_a_missing_key_of_the_detokenizer_is_named(write: Write, key: str):
    message = refusal(write("v25", lambda files: files[VOICE].pop(key)))
    assert VOICE in message and f"{key}'" in message


@pytest.mark.parametrize(("section", "key"), [(s, k) for s, v in MUST_BE.items() for k in v])
def test_another_architecture_is_refused(write: Write, section: str, key: str):
    file, at = (MAIN, section) if section in ("preprocessor", "encoder") else (CODEC, section)
    message = refusal(write(edit=lambda files: files[file][at].update({key: "other"})))
    assert section in message and f"'{key}' is 'other'" in message


CONTRADICTIONS = {
    "block_dim": {"block_dim": 95},
    "conv_dim": {"conv_dim": 95},
    "num_heads": {"num_heads": 3},
    "block_norm_eps": {"block_norm_eps": 1e-6},
    "num_hidden_layers": {"num_hidden_layers": 5},
    "layer_types": {"layer_types": ["conv", "full_attention", "conv"]},
    "full_attn_idxs": {"full_attn_idxs": [0, 3]},
    "rope_theta": {"rope_parameters": {"rope_theta": 5.0}},
    "rope_type": {"rope_parameters": {"rope_type": "yarn"}},
    "intermediate_size": {"intermediate_size": 501},
}


@pytest.mark.parametrize("key", CONTRADICTIONS)
def test_a_contradiction_is_named(write: Write, key: str):
    assert key in refusal(write(edit=section_set("lfm", **CONTRADICTIONS[key])))


def test_full_attn_idxs_alone_tells_the_layers(write: Write):
    made = read_original_config(write(edit=lambda files: files[MAIN]["lfm"].pop("layer_types")))
    assert made["lfm"]["layer_types"] == ["conv", "full_attention"] * 2


def test_both_spellings_of_the_rope_base_are_equal(tmp_path: Path):
    spellings: list[dict[str, Any]] = [
        {"rope_theta": 50000.0},
        {"rope_parameters": {"rope_theta": 50000.0, "rope_type": "default"}},
        {"rope_theta": 50000, "rope_parameters": {"rope_theta": 50000.0}},
    ]
    made = []
    for i, spelling in enumerate(spellings):

        def edit(files: dict[str, Any], spelling: dict[str, Any] = spelling) -> None:
            del files[MAIN]["lfm"]["rope_parameters"]
            files[MAIN]["lfm"] |= spelling

        (tmp_path / str(i)).mkdir()
        made.append(read_original_config(written(tmp_path / str(i), "v25", edit)))
    assert made[0] == made[1] == made[2]
    assert made[0]["lfm"]["rope_theta"] == 50000.0


@pytest.mark.parametrize(
    ("values", "width"),
    [
        ({"block_ff_dim": 12288, "block_multiple_of": 256}, 8192),  # LFM2-1.2B, as published
        ({"block_ff_dim": 6656, "block_multiple_of": 256}, 4608),  # LFM2-350M
        ({"block_ff_dim": 500, "block_multiple_of": 32}, 352),
        ({"block_ff_dim": 500, "block_multiple_of": 32, "block_ffn_dim_multiplier": 1.3}, 448),
        ({"block_ff_dim": 500, "block_auto_adjust_ff_dim": False}, 500),
    ],
)
def test_the_feed_forward_width_is_adjusted_as_lfm2_does(
    write: Write, values: dict[str, Any], width: int
):
    def edit(files: dict[str, Any]) -> None:
        del files[MAIN]["lfm"]["intermediate_size"]
        files[MAIN]["lfm"] |= values

    assert read_original_config(write(edit=edit))["lfm"]["ff_dim"] == width


def test_an_intermediate_size_may_be_the_adjusted_width(write: Write):
    edit = section_set("lfm", block_ff_dim=500, intermediate_size=352)
    assert read_original_config(write(edit=edit))["lfm"]["ff_dim"] == 352


def test_the_published_codec_is_used_where_nothing_says_otherwise(write: Write):
    made = read_original_config(write(edit=lambda files: files.pop(CODEC)))
    assert made["codebook_size"] == 2048
    assert made["mimi"]["seanet"].items() <= PUBLISHED_MIMI["seanet"].items()
    assert made["mimi"]["seanet"]["n_filters"] == 64
    assert made["mimi"]["upsample_stride"] == 2 and made["mimi"]["sample_rate"] == 24_000
    assert made["mimi"]["transformer"]["ff_dim"] == 2048
    assert made["mimi"]["transformer"]["context"] == 250


def test_without_the_codecs_weights_there_is_no_codec(write: Write):
    folder = write()
    (folder / MIMI_FILE).unlink()
    made = read_original_config(folder)
    assert made["mimi"] is None and made["codebook_size"] == 2048


def test_ratios_that_do_not_fit_the_frame_rate_are_refused(write: Write):
    edit = lambda files: files[CODEC]["seanet"].update(ratios=[7, 6, 5, 4])  # noqa: E731
    assert "ratios" in refusal(write(edit=edit))


def test_the_detokenizer_hears_only_its_window(write: Write):
    made = read_original_config(write("v25"))["detokenizer"]
    assert made["lfm"]["layer_types"] == ["conv", "sliding_attention"] * 2
    assert (made["lfm"]["sliding_window"], made["lfm"]["ff_dim"]) == (7, 272)
    assert (made["hop_length"], made["upsample_factor"], made["output_size"]) == (320, 6, 1282)


@pytest.mark.parametrize("key", ["sliding_window", "output_size", "norm_eps", "rope_theta"])
def test_the_detokenizer_has_the_references_defaults(write: Write, key: str):
    made = read_original_config(write("v25", lambda files: files[VOICE].pop(key)))["detokenizer"]
    found = {**made, **made["lfm"]}[key]
    assert found == {"sliding_window": 30, "output_size": 1282}.get(key, found) and found


def test_front_end_lengths_are_in_samples(write: Write):
    features = read_original_config(write())["features"]
    assert (features["win_length"], features["hop_length"]) == (400, 160)


@pytest.mark.parametrize("channels", [-1, 16])
def test_minus_one_channels_are_as_wide_as_the_encoder(write: Write, channels: int):
    made = read_original_config(
        write(edit=section_set("encoder", subsampling_conv_channels=channels))
    )
    assert made["conformer"]["subsampling_channels"] == (64 if channels == -1 else 16)


@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_an_unknown_key_is_logged_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, section: str
):
    for name in ("plain", "more"):
        (tmp_path / name).mkdir()

    def edit(files: dict[str, Any]) -> None:
        (files[MAIN][section] if section else files[MAIN])["surprise"] = 1

    plain = read_original_config(written(tmp_path / "plain"))
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert read_original_config(written(tmp_path / "more", edit=edit)) == plain
    (record,) = caplog.records
    assert f"'{section}.surprise'".replace("'.", "'") in record.getMessage()


@pytest.mark.parametrize("name", ["v1", "v25"])
def test_all_keys_of_real_checkpoints_are_known(
    write: Write, caplog: pytest.LogCaptureFixture, name: str
):
    read_original_config(write(name))
    assert not caplog.records


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2]", b"null", b'"text"'])
@pytest.mark.parametrize("file", [MAIN, CODEC, VOICE])
def test_a_garbled_file_is_named(write: Write, file: str, content: bytes):
    folder = write("v25")
    (folder / file).write_bytes(content)
    assert file in refusal(folder)


@pytest.mark.parametrize("file", [MAIN, VOICE])
def test_a_missing_file_is_named(write: Write, file: str):
    folder = write("v25")
    (folder / file).unlink()
    assert f"{file}: not there" in refusal(folder)


@pytest.mark.parametrize("section", ["preprocessor", "encoder", "lfm", "depthformer"])
@pytest.mark.parametrize("value", [None, 3, [], "text"])
def test_a_section_that_is_no_object_is_named(write: Write, section: str, value: Any):
    assert section in refusal(write(edit=lambda files: files[MAIN].update({section: value})))


READ = [
    *((MAIN, section, key) for section, keys in SECTIONS.items() for key in keys),
    *((MAIN, "lfm", key) for keys in TWICE.values() for key in keys),
    (MAIN, "lfm", "rope_parameters"),
    *((CODEC, section, key) for section, keys in CODEC_KEYS.items() for key in keys),
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers(0, 3) | st.text(max_size=3), max_size=3),
    st.just({"a": 1}),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.sampled_from(READ), value=VALUES)
def test_any_value_anywhere_gives_a_config_or_a_config_error(
    tmp_path: Path, at: tuple[str, str, str], value: Any
):
    file, section, key = at
    folder = written(tmp_path, edit=lambda files: files[file][section].update({key: value}))
    try:
        assert isinstance(read_original_config(folder), dict)
    except ConfigError as error:
        assert "\n" not in str(error)
