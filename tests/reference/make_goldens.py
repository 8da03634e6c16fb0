"""Write the goldens: what the reference implementation computes, on a CPU in float32.

Usage: python make_goldens.py DATA [--nano FOLDER], with DATA the folder ``tests/data``;
       python make_goldens.py DATA --checkpoint FOLDER --golden FILE
           for one original checkpoint, what `lfm verify MODEL --against FILE` compares: encoder,
           adapter, asr, depth, mimi and detok as below, and audio.CLIP [n], int16 samples

``mel.safetensors``
    CLIP        [128, T]  log-mel as `ChatState.add_audio` gives it, in float32
    CLIP.exact  [128, T]  the same code in double precision, then rounded: on a clip with near
                          silence the float32 run is off by up to 1.5e-4 from itself

``v1.safetensors``, ``v25.safetensors``: the checkpoint's digest is in the metadata, and
    encoder.CLIP   [T', d]        conformer output of the clip alone
    adapter.CLIP   [T', hidden]   the same after the adapter
    RUN.modality   [n]            1 text, 3 audio out, for each step of a greedy run
    RUN.tokens     [n, 8]         a text id and seven -1, or a frame's eight codes
                                  RUN is asr.CLIP, tts.INDEX or chat.TURN
    final.modality [L]            the chat after its last reply: 1 text, 2 audio in, 3 audio out
    final.text     [texts]        its text ids
    final.audio    [8, frames]    its audio-out codes
    prefill        [L, hidden]    its embeddings
    backbone       [L, hidden]    the backbone's last hidden state, after the final norm
    text_logits.at [K]            positions
    text_logits    [K, vocab]     and their text logits
    depth.hidden   [24, hidden]   random hidden states
    depth.codes    [24, 8]        the depthformer's greedy frames for them
    depth.logits   [24, 2049]     and its logits for the last codebook
    mimi.codes     [8, 23]        random codes
    mimi.wave      [23 * 1920]    decoded in one shot
    mimi.long.codes [8, 140]      as above, beyond the attention's context of 250 steps; v1 only
    mimi.long.tail [6 * 1920]     the end of its wave
    detok.codes    [8, 21]        random codes; v25 only
    detok.wave     [21 * 1920]    decoded in one shot

``training.safetensors``: see `training_golden.py`; of the checkpoint "v1"

``encoding.safetensors``: what Mimi's encoder makes of all clips, one after the other and once more,
as if they were at 24 kHz, cut to whole frames; of the checkpoint "v1", beyond its context
    latents  [140, d]  before quantisation
    codes    [8, 140]

``nano.json``
    asr: file, voice, seen, truth, tokens, text; tts: voice, prompt, sentence, modality, tokens,
    text; chat: the same with file and truth. `tokens` are text ids in asr; else a list for each
    step, of one text id or eight codes. Sequential runs end with `<|im_end|>`, 7.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

import recorder
import scenarios
from checkpoints import NAMES, digest, write_checkpoint
from recorder import Reference, Reply
from scenarios import Item
from training_golden import training_golden

Arrays = dict[str, torch.Tensor]
MARGIN = 1e-4  # below this, float32 noise might choose another token than ours
SAMPLES = 1920  # of a frame


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--nano", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--golden", type=Path)
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    goldens, speech = arguments.data / "goldens", arguments.data / "speech"
    if arguments.checkpoint:
        _save(_one(arguments.checkpoint, speech), arguments.golden, {})
        return
    goldens.mkdir(exist_ok=True)
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(name, Path(folder), arguments.data / "tokenizer")
            arrays = _checkpoint(Path(folder), speech)
            made_of = digest(Path(folder))
            _save(arrays, goldens / f"{name}.safetensors", {"checkpoint": made_of})
            if name == NAMES[0]:
                reference = recorder.load(Path(folder))
                arrays = _mel(reference, speech) | _exact_mel(reference, speech)
                _save(arrays, goldens / "mel.safetensors", {})
                arrays = _encoding(Path(folder), speech)
                _save(arrays, goldens / "encoding.safetensors", {"checkpoint": made_of})
                arrays = training_golden(Path(folder), speech)
                _save(arrays, goldens / "training.safetensors", {"checkpoint": made_of})
    if arguments.nano:
        text = json.dumps(_nano(arguments.nano, arguments.data / "recordings"), ensure_ascii=False)
        # One item a line: `git diff` then shows what moved.
        (goldens / "nano.json").write_text(text.replace(" {", "\n{") + "\n", encoding="utf-8")


def _save(arrays: Arrays, file: Path, metadata: dict[str, str]) -> None:
    arrays = {key: value.contiguous() for key, value in arrays.items()}
    save_file(arrays, file, metadata=metadata)
    file.chmod(0o644)
    print(f"{file.name}: {file.stat().st_size} bytes, {len(arrays)} arrays")


def _mel(reference: Reference, speech: Path) -> Arrays:
    arrays: Arrays = {}
    for clip in scenarios.CLIPS:
        chat = recorder.new_chat(reference, "")
        chat.add_audio(recorder.read_wave(speech, clip.name), scenarios.SAMPLE_RATE)
        arrays[clip.name] = chat.audio_in
    return arrays


def _exact_mel(reference: Reference, speech: Path) -> Arrays:
    arrays: Arrays = {}
    for clip in scenarios.CLIPS:
        wave = recorder.read_wave(speech, clip.name)
        arrays[f"{clip.name}.exact"] = recorder.exact_mel(reference, wave)[0].float()
    return arrays


def _checkpoint(folder: Path, speech: Path) -> Arrays:
    reference = recorder.load(folder)
    arrays = _encoder(reference, speech)
    arrays |= _recognition(reference, speech)
    arrays |= _synthesis(reference)
    arrays |= _chat(reference, speech)
    arrays |= _depth(reference)
    _require_margin(reference)
    return arrays | _decoders(folder)


def _one(folder: Path, speech: Path) -> Arrays:
    """What one checkpoint makes of the clips, with the clips."""
    reference = recorder.load(folder)
    arrays = _encoder(reference, speech) | _recognition(reference, speech) | _depth(reference)
    for name in scenarios.ENCODER_CLIPS:
        wave = recorder.read_wave(speech, name)[0]
        arrays[f"audio.{name}"] = (wave * 32_768).round().to(torch.int16)
    return arrays | _decoders(folder)


def _require_margin(reference: Reference) -> None:
    print(f"{len(reference.margins)} decisions, narrowest {reference.margin:.2g} deviations")
    if reference.margin < MARGIN:
        raise RuntimeError("too narrow: choose other salts in checkpoints.py, or other sentences")


def _encoder(reference: Reference, speech: Path) -> Arrays:
    arrays: Arrays = {}
    mel = _mel(reference, speech)
    for name in scenarios.ENCODER_CLIPS:
        lengths = torch.tensor([mel[name].shape[1]])
        encoded, _ = reference.model.conformer(mel[name][None], lengths)
        arrays[f"encoder.{name}"] = encoded[0].T
        arrays[f"adapter.{name}"] = reference.model.audio_adapter(encoded[0].T)
    return arrays


def _recognition(reference: Reference, speech: Path) -> Arrays:
    arrays: Arrays = {}
    for name in scenarios.ASR_CLIPS:
        reply = _sequential(
            reference, scenarios.ASR_PROMPT, Item("audio", name), speech, scenarios.ASR_TOKENS
        )
        arrays |= _named(f"asr.{name}", reply)
    return arrays


def _synthesis(reference: Reference) -> Arrays:
    arrays: Arrays = {}
    for i, text in enumerate(scenarios.TTS_TEXTS):
        reply = _sequential(
            reference, scenarios.TTS_PROMPT, Item("text", text), Path(), scenarios.TTS_TOKENS
        )
        arrays |= _named(f"tts.{i}", reply)
    return arrays


def _sequential(reference: Reference, prompt: str, item: Item, speech: Path, limit: int) -> Reply:
    chat = recorder.new_chat(reference, prompt)
    recorder.ask(chat, (item,), speech)
    return recorder.collect(reference.model.generate_sequential(**chat, max_new_tokens=limit))


def _named(name: str, reply: Reply) -> Arrays:
    steps = reply.modality.tolist()
    events = {
        "audio_start": [i for i, s in enumerate(steps) if s == 1 and reply.tokens[i, 0] == 128],
        "text_end": [i for i, s in enumerate(steps) if s == 1 and reply.tokens[i, 0] == 130],
        "end_of_audio": [i for i, s in enumerate(steps) if s == 3 and reply.tokens[i, 0] == 2048],
    }
    print(f"{name}: {steps.count(1)} texts, {steps.count(3)} frames, {events}")
    return {f"{name}.modality": reply.modality, f"{name}.tokens": reply.tokens}


def _chat(reference: Reference, speech: Path) -> Arrays:
    arrays: Arrays = {}
    model, limit = reference.model, scenarios.CHAT_TOKENS
    chat = recorder.new_chat(reference, scenarios.CHAT_PROMPT)
    for turn, items in enumerate(scenarios.CHAT_TURNS):
        recorder.ask(chat, items, speech)
        reply = recorder.collect(model.generate_interleaved(**chat, max_new_tokens=limit))
        arrays |= _named(f"chat.{turn}", reply)
        recorder.append(chat, reply)
    prefill = model._prefill(**chat)
    hidden = model.lfm(inputs_embeds=prefill, use_cache=False).last_hidden_state[0]
    at = torch.arange(0, len(hidden), scenarios.TEXT_LOGITS_STRIDE)
    logits = torch.nn.functional.linear(hidden[at], model.lfm.embed_tokens.weight)
    arrays |= {"prefill": prefill[0], "backbone": hidden}
    arrays |= {"text_logits": logits, "text_logits.at": at.int()}
    arrays |= {"final.text": chat.text[0].int(), "final.audio": chat.audio_out.int()}
    return arrays | {"final.modality": chat.modality_flag[0].int()}


def _depth(reference: Reference) -> Arrays:
    model = reference.model
    generator = torch.Generator().manual_seed(2)
    width = model.lfm.config.hidden_size
    hidden = torch.randn(scenarios.DEPTH_FRAMES, width, generator=generator)
    last: list[torch.Tensor] = []
    keep = model.depth_embeddings[-1].to_logits.register_forward_hook(
        lambda _, __, out: last.append(out.clone())
    )
    codes = torch.stack([model._sample_audio_frame(state) for state in hidden])
    keep.remove()
    return {
        "depth.hidden": hidden,
        "depth.codes": codes.int(),
        "depth.logits": torch.stack(last),
    }


def _decoders(folder: Path) -> Arrays:
    arrays: Arrays = {}
    if (folder / "audio_detokenizer").exists():
        detokenizer = recorder.load_detokenizer(folder / "audio_detokenizer")
        codes = _codes(scenarios.DETOKENIZER_FRAMES)
        arrays |= {"detok.codes": codes.int(), "detok.wave": detokenizer(codes[None])[0]}
    if (folder / recorder.MIMI_FILE).exists():
        mimi = recorder.load_mimi(folder)
        codes = _codes(scenarios.MIMI_FRAMES) % mimi.cardinality  # a small codec has fewer
        arrays |= {"mimi.codes": codes.int(), "mimi.wave": mimi.decode(codes[None])[0, 0]}
    if "detok.wave" not in arrays:
        codes = _codes(scenarios.MIMI_LONG_FRAMES) % mimi.cardinality
        tail = mimi.decode(codes[None])[0, 0, -SAMPLES * scenarios.MIMI_TAIL_FRAMES :]
        arrays |= {"mimi.long.codes": codes.int(), "mimi.long.tail": tail}
    return arrays


def _encoding(folder: Path, speech: Path) -> Arrays:
    mimi = recorder.load_mimi(folder)
    clips = [recorder.read_wave(speech, clip.name) for clip in scenarios.CLIPS]
    wave = torch.cat(2 * clips, dim=1)[:, : SAMPLES * scenarios.ENCODING_FRAMES]
    latents = mimi.encode_to_latent(wave[None], quantize=False)
    codes = mimi.encode(wave[None])[0]
    print(f"encoding: {codes.shape[1]} frames, {len(codes.unique())} codes")
    return {"latents": latents[0].T, "codes": codes.int()}


def _codes(frames: int) -> torch.Tensor:
    """Random codes: [8, frames]."""
    return torch.randint(2048, (8, frames), generator=torch.Generator().manual_seed(frames))


def _nano(folder: Path, recordings: Path) -> dict[str, list[dict[str, object]]]:
    reference = recorder.load(folder)
    truths = json.loads((recordings / "transcripts.json").read_text(encoding="utf-8"))
    goldens: dict[str, list[dict[str, object]]] = {
        "asr": [_nano_asr(reference, recordings, truth) for truth in truths],
        "tts": [
            _nano_tts(reference, voice, sentence)
            for voice in scenarios.NANO_VOICES
            for sentence in scenarios.NANO_TTS_TEXTS
        ],
        "chat": [
            _nano_chat(reference, recordings, truth)
            for truth in truths
            if Path(truth["file"]).stem in scenarios.NANO_QUESTIONS
        ],
    }
    _require_margin(reference)
    return goldens


def _nano_asr(reference: Reference, recordings: Path, truth: dict[str, str]) -> dict[str, object]:
    item = Item("audio", Path(truth["file"]).stem)
    limit = scenarios.NANO_ASR_TOKENS
    reply = _sequential(reference, scenarios.ASR_PROMPT, item, recordings, limit)
    texts = reply.tokens[reply.modality == 1][:, 0].tolist()
    seen = truth["file"].startswith("seen")
    about = {"file": truth["file"], "voice": truth["voice"], "seen": seen, "truth": truth["text"]}
    return about | {"tokens": texts, "text": _decode(reference, texts)}


def _nano_tts(reference: Reference, voice: str, sentence: str) -> dict[str, object]:
    prompt, limit = scenarios.voice_prompt(voice), scenarios.NANO_TTS_TOKENS
    reply = _sequential(reference, prompt, Item("text", sentence), Path(), limit)
    about = {"voice": voice, "prompt": prompt, "sentence": sentence}
    return about | _steps(reference, reply)


def _nano_chat(reference: Reference, recordings: Path, truth: dict[str, str]) -> dict[str, object]:
    chat = recorder.new_chat(reference, scenarios.CHAT_PROMPT)
    recorder.ask(chat, (Item("audio", Path(truth["file"]).stem),), recordings)
    limit = scenarios.NANO_CHAT_TOKENS
    reply = recorder.collect(reference.model.generate_interleaved(**chat, max_new_tokens=limit))
    about = {"file": truth["file"], "truth": truth["text"], "prompt": scenarios.CHAT_PROMPT}
    return about | _steps(reference, reply)


def _steps(reference: Reference, reply: Reply) -> dict[str, object]:
    rows = zip(reply.modality.tolist(), reply.tokens.tolist(), strict=True)
    steps = [row[:1] if kind == 1 else row for kind, row in rows]
    texts = [step[0] for step in steps if len(step) == 1]
    return {
        "modality": reply.modality.tolist(),
        "tokens": steps,
        "text": _decode(reference, texts),
    }


def _decode(reference: Reference, texts: list[int]) -> str:
    """The text without special tokens."""
    return reference.processor.text.decode(texts, skip_special_tokens=True)


if __name__ == "__main__":
    main()
