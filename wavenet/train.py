"""A training run: the loop of one worker, and the run around all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cluster import data_parallel
from cluster.data_parallel import StopRequest, Worker, newest_checkpoint, report, this_worker
from trainkit.checkpoints import set_aside_damaged, updates
from trainkit.errors import UserError
from trainkit.training_log import TrainingLog
from trainkit.words import Say
from wavenet import checkpoint
from wavenet.config import FRAMED, PRESETS, WaveNetConfig
from wavenet.corpus import Corpus, frequencies, load_corpus
from wavenet.crops import Cropper
from wavenet.features import features, mean_and_scale
from wavenet.generate import resynthesise
from wavenet.learning import Learner, held_out_bits
from wavenet.metrics import EXPORTED, METRICS, line
from wavenet.model import WaveNet
from wavenet.plots import spectrogram
from wavenet.starting import begun, refuse_misfit

MOST_VALIDATION_BATCHES = 64  # of a validation during training; `evaluate` takes all


def train(config: WaveNetConfig, run: Path | None = None, say: Say = print) -> Path:
    """Train, or go on with `run`; the run's folder. UserError for every mistake that the user can mend."""
    if run is not None:
        set_aside_damaged(run, say)
    begins, start = run is None or not updates(run), config.training.init_from
    source = run if not begins else Path(start) if start is not None else None
    known = None if source is None else checkpoint.known(source)
    if config.data.conditions in FRAMED:
        say("reading frames; where that was not done before, it takes a tenth of the recordings' time")
    corpus = load_corpus(config.data, known, more_speakers=begins)  # mistakes in the data show before any worker starts
    for skipped in corpus.skipped:
        say(f"skipped: {skipped}")
    if begins and start is not None:
        refuse_misfit(config, corpus)
        say(f"beginning with the weights of {start}")
    config = settled(config, corpus)
    say(corpus.describe(config.data.sample_rate))
    if config.data.conditions == "frames":
        say(f"it sounds {config.data.frames.describe()}; log F0 and voicing beside them")
    c = config.model
    rate = config.data.sample_rate
    say(f"receptive field {c.receptive_field:,} samples, {1000 * c.receptive_field / rate:.0f} ms at {rate:,} Hz")
    known = list(corpus.speakers), list(corpus.phones)
    run = data_parallel.train(PRESETS.trainer, config, run, work, {"known": known}, line, say)
    say(f"finished after {updates(run):,} updates")
    return run


def settled(config: WaveNetConfig, corpus: Corpus) -> WaveNetConfig:
    """With what only the data says, and a folder that means the same wherever a worker starts."""
    if config.model.speakers and not corpus.speakers:
        raise UserError(f"model.speakers = {config.model.speakers}, but data.speakers = none; expected folder")
    frames_of = features(config, corpus.phones)
    if config.model.local_features and not frames_of:
        raise UserError(
            f"model.local_features = {config.model.local_features}, but data.conditions = none; expected another "
            "kind, which says how many there are"
        )
    sizes = {"speakers": len(corpus.speakers), "local_features": frames_of.size if frames_of else 0}
    model = config.model.model_copy(update=sizes)
    places = {key: getattr(config.data, key) for key in ("folder", "said_frames")}
    anywhere = {key: str(Path(p).expanduser().absolute()) for key, p in places.items() if p is not None}
    return config.model_copy(update={"model": model, "data": config.data.model_copy(update=anywhere)})


def new_model(config: WaveNetConfig, corpus: Corpus) -> WaveNet:
    """The network before its first update, the same on all workers."""
    torch.manual_seed(config.seed)
    model, frames_of = WaveNet(config.model), features(config, corpus.phones)
    if config.model.output == "softmax":
        model.expect(torch.from_numpy(frequencies(corpus.train)))
    if frames_of is not None:
        model.conditions.upsampling.normalise(*mean_and_scale(frames_of, corpus.train, config.model.frame_samples))
    return model


def croppers(config: WaveNetConfig, corpus: Corpus) -> Callable[[int], Cropper]:
    """What cuts an update's crops, by the number of updates before it."""
    t = config.training
    own, said = (Cropper(config.model, t.segment_samples, features(config, corpus.phones, s)) for s in (False, True))
    until = t.steps if config.data.said_frames is None else t.said_frames_after * t.steps
    return lambda step: own if step < until else said


def work(settings: dict[str, Any]) -> None:
    """One worker's whole run; what `fit` calls."""
    config, run, worker = WaveNetConfig.model_validate(settings["config"]), Path(settings["run"]), this_worker()
    torch.set_num_threads(config.workers.cpus)
    corpus = load_corpus(config.data, settings["known"])
    model = new_model(config, corpus).to(worker.device)
    t = config.training
    learner = Learner(model, worker.wrap(model), t, worker.count, worker.total)
    with newest_checkpoint(run) as folder:
        if folder is not None:
            checkpoint.load(folder, learner, worker.device)
        elif t.init_from is not None:
            learner.begin_with(begun(config, model))
    cropper_at = croppers(config, corpus)
    writer = worker.open_log(run, learner.step, METRICS, EXPORTED)
    stop_requested = StopRequest(run, worker)
    started, since, samples = time.monotonic(), learner.step, 0
    while learner.step < t.steps:
        cropper = cropper_at(learner.step)
        # Drawn from the step alone: any number of workers sees the same batches, and a resumed run goes on with them.
        crops = cropper.random(corpus.train, t.batch, np.random.default_rng((config.seed, learner.step)))
        mine = crops.rows(worker.share(t.batch)).to(worker.device)
        bits, norm = learner.update(mine)
        if not math.isfinite(bits):
            raise UserError(f"bits became {bits} at step {learner.step}; try a smaller training.learning_rate")
        samples += int(crops.counted.sum())
        if writer and writer.due(learner.step, t.report_every_steps):
            seconds = time.monotonic() - started
            row = {"step": learner.step, "bits": bits, "grad_norm": norm, "workers": worker.count}
            writer.write({**row, "samples_per_s": samples / seconds, "steps_per_s": (learner.step - since) / seconds})
            started, since, samples = time.monotonic(), learner.step, 0
        if learner.step < t.steps and stop_requested():  # before a validation, which may last longer than there is time
            _save(config, worker, learner, corpus, {"step": learner.step})
            break
        if learner.step % t.validate_every_steps == 0 or learner.step == t.steps:
            _validate(config, worker, learner, corpus, cropper, writer)
            started, since, samples = time.monotonic(), learner.step, 0
    if writer:
        writer.close()


def _validate(
    config: WaveNetConfig,
    worker: Worker,
    learner: Learner,
    corpus: Corpus,
    cropper: Cropper,
    writer: TrainingLog | None,
) -> None:
    """Bits on held-out sound with the averaged weights, an excerpt, and a checkpoint."""
    if writer:
        writer.busy(f"validation after step {learner.step:,}")
    model = learner.averaged()
    mine = slice(worker.rank, None, worker.count)
    some = cropper.all(corpus.validation, config.training.batch, MOST_VALIDATION_BATCHES, mine)
    batches = (crops.to(worker.device) for crops in some)
    bits = held_out_bits(config.model, model, batches, worker.total)
    if writer:
        writer.write({"step": learner.step, "validation_bits": bits})
        if config.training.excerpt_s:
            excerpt(config, model.cpu(), corpus, writer, learner.step)
    _save(config, worker, learner, corpus, {"step": learner.step, "validation_bits": bits})


def _save(config: WaveNetConfig, worker: Worker, learner: Learner, corpus: Corpus, row: dict[str, float]) -> None:
    report(worker, row, lambda folder: checkpoint.save(folder, config, learner, corpus))


def excerpt(config: WaveNetConfig, model: WaveNet, corpus: Corpus, writer: TrainingLog, step: int) -> None:
    """For TensorBoard: sound in the first held-out file's voice; with a local condition, what that file says."""
    file, rate = corpus.validation[0], config.data.sample_rate
    frames_of = features(config, corpus.phones)
    samples = int(config.training.excerpt_s * rate)
    sound = resynthesise(
        model, frames_of, file, samples if frames_of is None else min(samples, len(file.samples)), seed=config.seed
    )
    writer.board.add_audio("excerpt", sound[None], step, sample_rate=rate)
    writer.board.add_figure("excerpt", spectrogram(sound, rate), step)
