"""Codes drawn one after the other, each given all those before: text or sound that the network makes up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from lstm.checkpoint import facts as checkpoint_facts
from lstm.checkpoint import load_config_of, load_network
from lstm.network import Network
from lstm.tasks import text
from trainkit.command_line import output_file
from trainkit.errors import UserError
from trainkit.mu_law import SILENCE


@torch.inference_mode()
def draw(
    network: Network, prompt: torch.Tensor, temperature: float = 1.0, top_k: int | None = None, seed: int = 0
) -> Iterator[int]:
    """Codes without end after `prompt` [T] (int64, at least one), by the written cells, which are faster step by step.

    `temperature` below 1 makes likely codes likelier, 0 takes the likeliest; `top_k` draws from the k likeliest only.
    """
    network, generator = network.written().eval(), torch.Generator().manual_seed(seed)
    outputs, state = network(prompt[None])
    logits = outputs[0, -1]
    while True:
        code = _drawn(logits, temperature, top_k, generator)
        yield int(code)
        outputs, state = network(code.reshape(1, 1), state)
        logits = outputs[0, -1]


def _drawn(logits: torch.Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> torch.Tensor:
    if temperature == 0:
        return logits.argmax()
    logits = (logits - logits.max()) / temperature  # the largest at 0, however small the temperature
    if top_k is not None and top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf)
    return torch.multinomial(torch.softmax(logits, 0), 1, generator=generator)


def sample_to(
    run: Path, length: int, prompt: str | None, drawn: tuple[float, int | None, int], out: str | None
) -> None:
    """Write what a run's network makes up to a file, or text to the console. UserError when its task makes nothing.

    Without a prompt, text begins as after the end of a line or, where none was learned, after a space or any character.
    """
    config, facts = load_config_of(run), checkpoint_facts(run)
    if config.text is None and config.audio is None:
        raise UserError(f"run {str(run)!r} learned neither text nor sound; expected a run of one of them")
    network = load_network(run)
    if config.audio is not None:
        from lstm.tasks import audio  # its libraries are an extra

        if out is None or Path(out).suffix.lower() not in (".wav", ".flac"):
            raise UserError(f"--out {out!r}: expected a file that ends in .wav or .flac")
        sound = output_file("--out", out)
        codes = draw(network, torch.full((1,), SILENCE), *drawn)
        audio.write(sound, np.fromiter(codes, np.int64, length), int(facts["sample_rate"]))
        return
    vocabulary = str(facts["vocabulary"])
    begins = next((c for c in "\n " if not vocabulary or c in vocabulary), vocabulary[:1])
    start = text.coded(begins if prompt is None else prompt, vocabulary)
    if not len(start):
        raise UserError("--prompt is empty; expected at least one character")
    path = None if out is None else output_file("--out", out)
    codes = draw(network, torch.from_numpy(start.astype(np.int64)), *drawn)
    generated = ((prompt or "") + text.spelled(np.fromiter(codes, np.int64, length), vocabulary)).lstrip("\n")
    if path is None:
        print(generated)
    else:
        path.write_text(generated + "\n", encoding="utf-8")
