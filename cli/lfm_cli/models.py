"""`lfm list`, `lfm show`, `lfm rm`: the models that are here."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lfm2audio_mlx import installed
from lfm2audio_mlx.config import ModelConfig, read_config
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.installed import EMBEDDED, NANO, find_model
from lfm2audio_mlx.manifest import Manifest, read_manifest
from lfm2audio_mlx.tokens import CONTEXT_LENGTH
from lfm_cli.model import usable
from lfm_cli.terminal import JsonOption, columns, emit, insist, megabytes
from lfm_convert import store
from lfm_convert.catalogue import entry_of

__all__ = ["list_models", "remove", "show"]


def list_models(as_json: JsonOption = False) -> None:
    """List the models that are here, and the embedded one.

    Example: lfm list
    """
    models = [installed.look_at(NANO, EMBEDDED), *installed.models()]
    if as_json:
        entries = [{**asdict(model), "folder": str(model.folder)} for model in models]
        emit("models", models=entries)
        return
    rows = [("NAME", "SIZE", "RECIPE", "SOURCE")]
    for model in models:
        source = f"broken: {model.fault}" if model.fault else _source(model.source, model.revision)
        rows.append((model.name, megabytes(model.size), model.recipe or "-", source))
    columns(rows, right=(1,))
    originals = store.originals_folder()
    if originals.is_dir() and (size := installed.folder_size(originals)):
        print(f"\n{megabytes(size)} of originals and unfinished downloads in {originals}")


def show(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A name that `lfm list` shows, or a folder.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Tell what a model is: its parts, bits, origin, licence and files.

    Example: lfm show nano
    """
    folder = find_model(model)
    with usable():
        config = read_config(folder)
        manifest = read_manifest(folder)
    if as_json:
        _emit(folder, config, manifest)
        return
    columns([("folder", str(folder)), *_origin(folder, manifest), *_anatomy(config)])
    print()
    columns([("PART", "BITS"), *_bits(config)])
    print()
    files = sorted(path for path in folder.iterdir() if path.is_file())
    rows = [(path.name, f"{path.stat().st_size:,}") for path in files]
    columns([("FILE", "BYTES"), *rows], right=(1,))
    if manifest:
        fault = installed.look_at(folder.name, folder).fault
        if fault:
            print(f"\nbroken: {fault}")


def remove(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Names that `lfm list` shows.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete installed models.

    Example: lfm rm lfm2-audio-1.5b --yes
    """
    for name in models:
        if name == NANO:
            raise RequestError(f"'{name}' ships with the package and cannot be removed")
        installed.find(name)
    if not yes:
        insist(f"Delete {', '.join(models)}?", "lfm rm")
    for name in dict.fromkeys(models):
        store.remove(name)
        if not as_json:
            print(f"{name}: removed")
    if as_json:
        emit("removed", names=list(dict.fromkeys(models)))


def _emit(folder: Path, config: ModelConfig, manifest: Manifest | None) -> None:
    """The same as `show` prints, as JSON."""
    emit(
        "model",
        folder=str(folder),
        **dict(_origin(folder, manifest)),
        **dict(_anatomy(config)),
        bits=dict(_bits(config)),
        files={path.name: path.stat().st_size for path in sorted(folder.iterdir())},
        fault=installed.look_at(folder.name, folder).fault if manifest else "",
    )


def _origin(folder: Path, manifest: Manifest | None) -> list[tuple[str, str]]:
    terms = sorted(p.name for pattern in ("LICENSE*", "NOTICE*") for p in folder.glob(pattern))
    in_files = f"see {' and '.join(terms)}" if terms else "unknown"
    if manifest is None:
        return [("source", "unknown: there is no manifest"), ("licence", in_files)]
    entry = entry_of(manifest.source)
    return [
        ("source", manifest.source),
        ("revision", manifest.revision or "-"),
        ("licence", f"{entry.licence}; {in_files}" if entry else in_files),
        ("recipe", f"{manifest.recipe}, made by {manifest.tool}"),
    ]


def _anatomy(config: ModelConfig) -> list[tuple[str, str]]:
    body, encoder, depth = config.lfm, config.conformer, config.depthformer
    kinds = Counter(kind.removeprefix("full_").replace("_", " ") for kind in body.layer_types)
    what = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    decoders = {"mimi": config.mimi, "detokenizer": config.detokenizer}
    rates = ", ".join(f"{d} at {c.sample_rate:,} Hz" for d, c in decoders.items() if c)
    return [
        ("backbone", f"{len(body.layer_types)} layers of {body.hidden_size:,} ({what})"),
        ("encoder", f"{encoder.n_layers} layers of {encoder.d_model:,}"),
        ("depthformer", f"{depth.layers} layers of {depth.dim:,}"),
        ("decoder", f"{rates}; {config.codebooks} codebooks of {config.codebook_size:,}"),
        ("context", f"{min(CONTEXT_LENGTH, config.max_position_embeddings):,} positions"),
        ("voices", ", ".join(config.prompts.voices) or "-"),
    ]


def _bits(config: ModelConfig) -> list[tuple[str, str]]:
    """For each part, the bits of its quantised layers; what is not quantised has `dtype`."""
    parts: dict[str, Counter[int]] = {}
    for name, entry in config.quantization.items():
        part = ".".join(name.split(".")[:2])
        parts.setdefault(part, Counter())[entry.bits] += 1
    rows: list[tuple[str, str]] = []
    for part, bits in parts.items():
        told = [
            f"{b} ({count} layer{'s' if count > 1 else ''})" for b, count in sorted(bits.items())
        ]
        rows.append((part, ", ".join(told)))
    return [*rows, ("all else" if rows else "all", config.dtype)]


def _source(source: str, revision: str) -> str:
    return f"{source}@{revision[:12]}" if revision else source
