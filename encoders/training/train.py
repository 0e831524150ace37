"""The one training loop of the self-supervised encoders: any objective, one process or several, resumable.

The loop knows rows and losses, not galaxies: an `Objective` holds the networks and says what its loss is, ``read``
gives the batch of some rows. What a step sees and draws is a function of seed, step and process, so that a training
that was killed and resumed in one process ends in the same digits as one that never stopped.
"""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders.training.batches import Reader
from encoders.training.batches import batches as batches_of_steps
from encoders.training.checkpoint import latest_step, read_checkpoint, require_same_training
from encoders.training.history import History
from encoders.training.objective import Objective, ParameterGroup, require_every_parameter_once
from encoders.training.order import monitor_rows, rows_of_step, steps_per_epoch, stream_seed
from encoders.training.precision import Precision, autocast, compute_dtype
from encoders.training.schedules import Schedule, constant, cosine, warmup_cosine
from encoders.training.state_writer import StateWriter

__all__ = ["Objective", "ParameterGroup", "Reader", "TrainingConfig", "train"]

# newer releases of torch give the option another name and warn of the old one
_DDP_OPTIONS = inspect.signature(nn.parallel.DistributedDataParallel).parameters
_OWN_BUFFERS: dict[str, Any] = {
    "forward_sync_buffers" if "forward_sync_buffers" in _DDP_OPTIONS else "broadcast_buffers": False
}

Watcher = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass(frozen=True)
class TrainingConfig:
    """How an objective is trained, with AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101).

    Attributes
    ----------
    n_steps : steps of the optimiser; 0 leaves the drawn weights as they are.
    batch_size : galaxies a step over all processes, a multiple of their number.
    learning_rate, min_learning_rate : peak after ``n_warmup`` steps, and the end of the cosine at ``n_steps``.
    weight_decay, final_weight_decay : start and end of a cosine; None keeps the start.
    betas : of Adam.
    clip : largest norm of the gradient of each clipping group, None for any.
    precision : of matrix products, see `encoders.training.precision.compute_dtype`.
    log_every : steps a row of the history averages over; also how often diagnostics are taken.
    checkpoint_every : steps between states on disk, where there is a folder for them.

    Raises
    ------
    ValueError
        If a number is outside its range.
    """

    n_steps: int
    batch_size: int
    learning_rate: float
    min_learning_rate: float = 0.0
    n_warmup: int = 0
    weight_decay: float = 0.0
    final_weight_decay: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = None
    precision: Precision = "auto"
    log_every: int = 10
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        for name, least in (("n_steps", 0), ("batch_size", 1), ("n_warmup", 0), ("log_every", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least {least}")
        if self.checkpoint_every < 1:
            raise ValueError(f"checkpoint_every {self.checkpoint_every}: must be at least 1")
        if self.n_warmup > self.n_steps:
            raise ValueError(f"n_warmup {self.n_warmup}: must be at most n_steps, {self.n_steps}")
        if not 0 <= self.min_learning_rate <= self.learning_rate:
            raise ValueError(
                f"learning_rate {self.learning_rate}, min_learning_rate {self.min_learning_rate}: the second must be "
                "from 0 to the first"
            )
        if self.weight_decay < 0 or (self.final_weight_decay or 0.0) < 0:
            raise ValueError(f"weight_decay {self.weight_decay} to {self.final_weight_decay}: must not be negative")
        if self.clip is not None and self.clip <= 0:
            raise ValueError(f"clip {self.clip}: must be positive, or None for no clipping")
        object.__setattr__(self, "betas", tuple(self.betas))  # a list where the options came from a file
        compute_dtype(self.precision, torch.device("cpu"))

    def schedules(self) -> tuple[Schedule, Schedule]:
        """Learning rate and weight decay by step."""
        rate = warmup_cosine(self.learning_rate, self.min_learning_rate, self.n_steps, self.n_warmup)
        if self.final_weight_decay is None:
            return rate, constant(self.weight_decay)
        return rate, cosine(self.weight_decay, self.final_weight_decay, self.n_steps)


def train(
    objective: Any,
    read: Reader,
    n_rows: int,
    config: TrainingConfig,
    *,
    seed: int,
    folder: Path | None = None,
    resume: bool = False,
    progress: Watcher | None = None,
) -> History:
    """Train an objective in place, on the device on which it lies; it is in evaluation mode afterwards.

    Parameters
    ----------
    objective : an `Objective` that is an ``nn.Module``, with its weights drawn.
    read : gives the batch of some rows of ``n_rows``.
    n_rows : galaxies to learn from.
    config : how.
    seed : of the order of the rows and of all that steps draw.
    folder : where the state is kept every ``checkpoint_every`` steps, None for nowhere. It is written while the
        training goes on.
    resume : go on from the state in ``folder`` if there is one.
    progress : called with (steps done, steps in all) after every step.

    Returns
    -------
    History
        One row every ``log_every`` steps and one for the last step.

    Raises
    ------
    ValueError
        If the batch does not fit the galaxies or the processes, a parameter is in no group or in two, the folder holds
        another training, or the loss is not finite.
    OSError
        If a state could not be written; as soon as it is known, with several processes at the next state or the end.

    Notes
    -----
    Where ``torch.distributed`` is initialised, each process takes its part of every batch and gradients are averaged;
    the order of the rows does not depend on the number of processes. Draws do: each process has its own.
    """
    run = _Run(objective, n_rows, config, seed)
    if folder is not None:
        run.open_folder(Path(folder), resume)
    writing = contextlib.nullcontext() if run.folder is None else StateWriter(run.folder)
    with _own_random_state(run.device), writing as writer:
        run.carry_out(read, progress, writer)
    objective.eval()
    return run.history


@dataclass
class _Run:
    """A training under way: what the loop, the history and the state on disk share."""

    objective: Any
    n_rows: int
    config: TrainingConfig
    seed: int
    step: int = 0  # steps done
    folder: Path | None = None
    history: History = field(default_factory=History)
    sums: dict[str, Tensor] = field(default_factory=dict)  # of losses since the last row
    n_summed: int = 0
    waited_s: float = 0.0

    def __post_init__(self) -> None:
        self.world, self.rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
        config, self.groups = self.config, self.objective.parameter_groups()
        if config.batch_size % self.world:
            raise ValueError(
                f"batch_size {config.batch_size} on {self.world} processes: must be a multiple of their number, else "
                "the mean over processes is not the mean over galaxies"
            )
        if config.n_steps:
            self.epoch_steps = steps_per_epoch(self.n_rows, config.batch_size)
        require_every_parameter_once(self.objective, self.groups)
        self.device = next(self.objective.parameters()).device
        self.dtype = compute_dtype(config.precision, self.device)
        self.optimiser = torch.optim.AdamW(
            [{"params": group.parameters} for group in self.groups], lr=0.0, betas=config.betas, fused=True
        )
        self.clipped: dict[str, list[nn.Parameter]] = {}
        for group in self.groups:
            self.clipped.setdefault(group.clip, []).extend(group.parameters)
        self.history.batch_size = config.batch_size
        self.history.n_parameters = sum(p.numel() for group in self.groups for p in group.parameters)
        self.history.precision = str(self.dtype).removeprefix("torch.")
        self.history.device = self.device.type

    def carry_out(self, read: Reader, progress: Watcher | None, writer: StateWriter | None) -> None:
        config = self.config
        rate, decay = config.schedules()
        model = self.objective
        if self.world > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            model = nn.parallel.DistributedDataParallel(self.objective, device_ids=ids, **_OWN_BUFFERS)
        generator = torch.Generator(self.device)
        self.monitor = read(monitor_rows(self.n_rows, seed=self.seed)).to(self.device) if config.n_steps else None
        self.objective.train()
        self.wall_s, self.cpu_s = time.monotonic(), time.process_time()
        steps = range(self.step, config.n_steps)
        batches = batches_of_steps(read, self._rows, steps, self.device, ahead=self.device.type == "cuda")
        for step in steps:
            since = time.monotonic()
            batch = next(batches)
            self.waited_s += time.monotonic() - since
            self._set_rates(rate(step), decay(step), step)
            _seed_draws(generator, stream_seed(self.seed, step, self.rank), self.device)
            with autocast(self.dtype, self.device):
                losses = model(batch, step=step, generator=generator)
            self.optimiser.zero_grad(set_to_none=True)
            losses["loss"].backward()
            norms = self._clip()
            self.optimiser.step()
            self.objective.after_step(step)
            self._add(losses | norms)
            self.step = step + 1
            if self.step % config.log_every == 0 or self.step == config.n_steps:
                self._log(rate(step), decay(step), generator)
            if writer:
                writer.check()
                if self.step % config.checkpoint_every == 0 and self.step < config.n_steps:
                    self._write_state(writer)
            if progress:
                progress(self.step, config.n_steps)
        self.history.n_steps = self.step

    def _rows(self, step: int) -> NDArray[np.int64]:
        rows = rows_of_step(self.n_rows, self.config.batch_size, seed=self.seed, step=step)
        share = self.config.batch_size // self.world
        return rows[self.rank * share : (self.rank + 1) * share]

    def _set_rates(self, rate: float, decay: float, step: int) -> None:
        for group, options in zip(self.groups, self.optimiser.param_groups, strict=True):
            options["lr"] = 0.0 if step < group.frozen_steps else rate * group.lr_scale
            options["weight_decay"] = decay if group.decay else 0.0

    def _clip(self) -> dict[str, Tensor]:
        """Norms of the gradient by clipping group, before it was clipped; none where nothing is clipped."""
        if self.config.clip is None:
            return {}
        return {
            f"grad_norm_{name}": nn.utils.clip_grad_norm_(parameters, self.config.clip, foreach=True)
            for name, parameters in self.clipped.items()
        }

    def _add(self, scalars: dict[str, Tensor]) -> None:
        """Sum scalars on the device: reading each of them would make a GPU wait at every step."""
        for name, value in scalars.items():
            value = value.detach().double()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.n_summed += 1

    def _totals(self) -> dict[str, float]:
        """Sums over the steps since the last row, averaged over all processes."""
        if not self.sums:
            return {}
        stacked = torch.stack(list(self.sums.values()))
        if self.world > 1:
            dist.all_reduce(stacked)
            stacked /= self.world
        return dict(zip(self.sums, stacked.tolist(), strict=True))

    def _log(self, rate: float, decay: float, generator: torch.Generator) -> None:
        means = {name: total / self.n_summed for name, total in self._totals().items()}
        if not np.isfinite(means["loss"]):
            raise ValueError(
                f"training diverged: the loss of the steps before step {self.step} is {means['loss']} with "
                f"learning_rate {self.config.learning_rate}; lower it, clip gradients or look for extreme inputs"
            )
        assert self.monitor is not None
        _seed_draws(generator, stream_seed(self.seed, -1), self.device)
        with torch.no_grad(), autocast(self.dtype, self.device):
            seen = self.objective.diagnostics(self.monitor, generator=generator)
        self.objective.train()
        wall_s, cpu_s = time.monotonic(), time.process_time()
        row = {"step": float(self.step), "epoch": self.step / self.epoch_steps, "learning_rate": rate}
        row |= {"weight_decay": decay, **means, **seen, "data_wait_s": self.waited_s}
        row |= {"wall_s": wall_s - self.wall_s, "cpu_s": cpu_s - self.cpu_s}
        self.history.rows.append(row)
        self.wall_s, self.cpu_s, self.waited_s = wall_s, cpu_s, 0.0
        self.sums, self.n_summed = {}, 0

    def open_folder(self, folder: Path, resume: bool) -> None:
        """Check that the folder is of this training, and take up its state."""
        if not resume and latest_step(folder) is not None:
            raise ValueError(f"{folder} holds the state of a training: resume it, or choose an empty folder")
        names = [[name, list(value.shape)] for name, value in self.objective.state_dict().items()]
        require_same_training(
            folder, {**asdict(self.config), "seed": self.seed, "n_rows": self.n_rows, "tensors": names}
        )
        self.folder = folder
        if latest_step(folder) is None:
            return
        tensors = self._tensors()
        facts = read_checkpoint(folder, tensors)
        with torch.no_grad():
            for name, value in self.objective.state_dict().items():
                value.copy_(tensors[f"objective.{name}"])
        for name, parameter in self._trained():
            self.optimiser.state[parameter] = {part: tensors[f"optimiser.{part}.{name}"] for part in _ADAM}
        self.step, self.history.rows, self.n_summed = facts["step"], facts["rows"], facts["n_summed"]
        self.sums = {
            name: torch.tensor(total, dtype=torch.float64, device=self.device)
            for name, total in facts["totals"].items()
        }

    def _write_state(self, writer: StateWriter) -> None:
        facts = {"step": self.step, "rows": self.history.rows, "totals": self._totals(), "n_summed": self.n_summed}
        writer.write(self.step, self._tensors(), facts)

    def _tensors(self) -> dict[str, Tensor]:
        """Every number of the state by name; zeros for the moments of a parameter that had no step yet."""
        tensors = {f"objective.{name}": value.detach() for name, value in self.objective.state_dict().items()}
        for name, parameter in self._trained():
            state = self.optimiser.state.get(parameter) or {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            }
            tensors |= {f"optimiser.{part}.{name}": state[part].detach() for part in _ADAM}
        return tensors

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        for name, parameter in self.objective.named_parameters():
            if parameter.requires_grad:
                yield name, parameter


_ADAM = ("step", "exp_avg", "exp_avg_sq")


def _seed_draws(generator: torch.Generator, seed: int, device: torch.device) -> None:
    """Seed a step's generator, and torch's global ones, from which dropout draws and which take no argument."""
    generator.manual_seed(seed)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@contextlib.contextmanager
def _own_random_state(device: torch.device) -> Iterator[None]:
    """Put torch's global generators back to where they were."""
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
