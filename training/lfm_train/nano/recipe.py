"""How the embedded checkpoint is made, as data and in order: two parts that know nothing of each
other, what they make of the sentences, the language model, the encoder once more, the checkpoint.

Each stage leaves its work in a folder of its own and is passed over when that is done, so that an
interrupted run goes on where it was.
"""

import multiprocessing
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlx.core as mx

from lfm2audio_mlx.config import FORMAT, ModelConfig, parse_config
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm2audio_mlx.weights import fill
from lfm_convert.convert import convert
from lfm_convert.original import MIMI_FILE, read_original_config
from lfm_convert.prompts import PROMPTS
from lfm_convert.recipes import RECIPES, Part
from lfm_convert.recipes import Recipe as Shipped
from lfm_convert.source import open_source
from lfm_train.codec.codec import TrainedCodec
from lfm_train.command import out_of_reach
from lfm_train.initial import initialise
from lfm_train.loss import Weighting
from lfm_train.nano.assemble import LAYOUT, assemble
from lfm_train.nano.codec import Plans, train_codec
from lfm_train.nano.encoder import Recogniser, train_encoder
from lfm_train.nano.espeak import Espeak
from lfm_train.nano.language import Mixture, Teacher, train_language
from lfm_train.nano.listening import Dictation, train_listening
from lfm_train.nano.spoken import load_spoken, make_spoken
from lfm_train.original import open_original, save_original
from lfm_train.training import Plan

__all__ = ["NANO", "Recipe", "design", "make_nano"]


INNER = 64
"""Width in which the codec quantises (`quantizer.dimension` in layout/mimi_config.json)."""


@dataclass(frozen=True)
class Recipe:
    """Plans of the stages, sizes of their batches; `texts` are spoken besides all answers.
    `weighting`: what counts how much; `shipped`: how the checkpoint is quantised."""

    encoder: Plan
    encoder_batch: int
    codec: Plans
    codec_batch: int
    texts: int
    language: Plan
    mixture: Mixture
    listening: tuple[Plan, ...]
    listening_batch: int
    weighting: Weighting
    shipped: Shipped


SHIPPED = replace(
    RECIPES["4bit"],
    name="nano",
    parts=(
        # Three quarters of these tables are codes that the codec does not have.
        Part("audio embedding", r"model\.audio_embedding", 3),
        Part("depthformer", r"model\.depthformer\.depth_embeddings\..*", 4),
        Part("encoder", r"model\.(conformer|audio_adapter)\..*", 6),
        *RECIPES["4bit"].parts,
    ),
)
"""As "4bit", and less where it has no room for that: 10 MB are all that it may take."""

NANO = Recipe(
    encoder=Plan(6000, 2e-3, warmup=200, group=4, name="encoder"),
    encoder_batch=24,
    codec=Plans(
        Plan(400, 1e-3, least=1.0, group=4, name="codec, plain"),
        Plan(2000, 1e-3, warmup=50, group=4, name="codec"),
        Plan(2000, 5e-4, warmup=50, group=4, name="codec, decoder"),
    ),
    codec_batch=16,
    texts=6000,
    language=Plan(7400, 1.5e-3, warmup=150, group=4, name="language"),
    mixture=Mixture(transcriptions=16, readings=8, questions=8),
    listening=(
        Plan(4400, 8e-4, warmup=100, group=4, name="listening"),
        Plan(2200, 4e-4, warmup=100, group=4, name="listening again"),
    ),
    listening_batch=32,
    weighting=Weighting(tuple(100 ** (1 - i / 7) for i in range(8))),
    shipped=SHIPPED,
)


def design() -> ModelConfig:
    """The checkpoint's configuration, as the converter reads it from `layout/`."""
    with TemporaryDirectory() as place:
        for path in LAYOUT.glob("*.json"):
            shutil.copyfile(path, Path(place) / path.name)
        (Path(place) / MIMI_FILE).touch()  # it is only asked whether there is one
        sections: dict[str, Any] = read_original_config(Path(place))
    facts = {"format": FORMAT, "dtype": "float32", "prompts": PROMPTS["nano"], "quantization": {}}
    return parse_config(facts | sections, str(LAYOUT))


def make_nano(recipe: Recipe, folder: Path) -> Path:
    """Train all of it in `folder`; the converted checkpoint.

    Raises:
        RequestError: espeak-ng is not installed; the folder is another recipe's, or has other
            things in it.
    """
    Espeak()  # or it is told now
    _begin(recipe, folder)
    # The codec needs nothing of the encoder: each has a core of its own.
    process = multiprocessing.get_context("spawn").Process
    side = process(target=_codec, args=(recipe, folder), daemon=True)
    with out_of_reach():
        side.start()
    encoder = _encoder(recipe, folder)
    side.join()
    codec = _codec(recipe, folder)
    spoken = folder / "spoken.npz"
    if not spoken.exists():
        make_spoken(codec, recipe.texts, spoken)
    model = _language(recipe, folder, encoder)
    for name in ("original", "nano", "rounded"):
        shutil.rmtree(folder / name, ignore_errors=True)
    assemble(model, codec, recipe.weighting, EMBEDDED, folder / "original")
    shipped = convert(folder / "original", folder / "nano", recipe.shipped, "nano")
    _unpack(shipped, folder)
    return shipped


def _begin(recipe: Recipe, folder: Path) -> None:
    """Make the folder, or see that it is this recipe's: what is done is not done again."""
    told = folder / "recipe.txt"
    if told.exists():
        if told.read_text("utf-8") != f"{recipe}\n":
            raise RequestError(f"{folder} was begun with another recipe: name a new folder")
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"{folder} is not empty: name a new folder, or one to go on with")
    folder.mkdir(parents=True, exist_ok=True)
    told.write_text(f"{recipe}\n", "utf-8")


def _unpack(shipped: Path, folder: Path) -> None:
    """In `rounded`, the original layout with the weights as they are shipped: what the reference,
    which cannot unpack, is to be equal to."""
    original = open_original(folder / "original")
    fill(original.model, open_source(shipped, None).parts["model"], str(shipped))
    save_original(original, folder / "rounded")


def _encoder(recipe: Recipe, folder: Path) -> Recogniser:
    return train_encoder(design(), recipe.encoder, recipe.encoder_batch, folder / "encoder")


def _codec(recipe: Recipe, folder: Path) -> TrainedCodec:
    config = design()
    assert config.mimi is not None
    mx.random.seed(2)
    codec = TrainedCodec(config.mimi, INNER, config.codebooks, config.codebook_size)
    train_codec(codec, recipe.codec, recipe.codec_batch, folder / "codec")
    return codec


def _language(recipe: Recipe, folder: Path, encoder: Recogniser) -> Lfm2Audio:
    config = design()
    mx.random.seed(3)
    model = Lfm2Audio(config)
    initialise(model)
    model.conformer.update(encoder.conformer.parameters())
    teacher = Teacher(config, Tokenizer(EMBEDDED), load_spoken(folder / "spoken.npz"))
    plan = recipe.language
    train_language(model, teacher, recipe.weighting, recipe.mixture, plan, folder / "language")
    dictation = Dictation(config, teacher.conversations.tokenizer)
    rounds, size = recipe.listening, recipe.listening_batch
    train_listening(model, dictation, size, rounds, folder / "listening")
    return model
