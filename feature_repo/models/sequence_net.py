"""The network of feature_repo.models.sequences, its training and its use; all that names torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from feature_repo.models.learner import LearnerAway
from lake.errors import BadInput

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

SIDES = 3
CLIPPED_AT = 10.0
"""Spreads from the mean beyond which a value says no more: one outlier must not shout down all."""

STEEPEST = 1.0
"""Norm that gradients are cut to."""

ONE_THREAD_ROWS_MAX = 256
"""So few windows are predicted by one thread: to wake others takes far longer."""

AT_ONCE = 4_096
"""Windows of one forward pass: memory stays bounded, and no faster with more."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and spread of each feature over the rows that a model was taught."""

    mean: Float64
    spread: Float64


@dataclass(frozen=True, slots=True)
class Task:
    """What to learn: windows end at these lines of the pool; sides are 0, 1, 2."""

    pool: Float64
    taught: Int64
    taught_side: Int64
    watched: Int64 | None
    watched_side: Int64 | None


class Net(nn.Module):
    """Windows of raw doubles to probabilities; `scores` of scaled floats to raw scores."""

    def __init__(self, scale: Scale, levels: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(scale.mean), persistent=False)
        self.register_buffer("spread", torch.from_numpy(scale.spread), persistent=False)
        widths = [len(scale.mean), *[channels] * (levels - 1)]
        self.levels = nn.ModuleList(nn.Linear(2 * width, channels) for width in widths)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, SIDES)

    def scaled(self, raw: Any) -> Any:
        """Return raw values in spreads from the mean, within CLIPPED_AT."""
        return ((raw - self.mean) / self.spread).clamp(-CLIPPED_AT, CLIPPED_AT).float()

    def scores(self, x: Any) -> Any:
        """Return the raw score of each side."""
        for number, level in enumerate(self.levels):
            pairs = x.unflatten(1, (-1, 2)).flatten(2)
            made = self.dropout(nn.functional.gelu(level(pairs)))
            # past the first level, what is newer goes on beside what was learned of both
            x = made + x[:, 1::2] if number else made
        return self.head(x[:, 0])

    def forward(self, raw: Any) -> Any:
        """Return the probability of each side."""
        return self.scores(self.scaled(raw)).double().softmax(dim=-1)


def device(name: str) -> Any:
    """Return torch's device; LearnerAway where this machine has none of that name."""
    try:
        found = torch.device(name)
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError) as error:
        first = str(error).partition("\n")[0]
        raise LearnerAway(f"torch device {name}", first, "TICKLAKE_TORCH_DEVICE=cpu") from error
    return found


def train(
    task: Task, scale: Scale, recipe: Mapping[str, Any], rounds: int | None
) -> tuple[dict[str, Float32], int]:
    """Return the weights of the best pass over the rows, and how many passes that took.

    rounds: exactly so many, and none is watched. Raises BadInput where the loss is no number.
    """
    at = device(recipe["device"])
    with _repeatable(recipe["seed"], recipe["threads"], at):
        made = Net(scale, recipe["levels"], recipe["channels"], recipe["dropout"]).to(at)
        pool = made.scaled(torch.from_numpy(task.pool).to(at))
        back = torch.arange(1 - 2 ** recipe["levels"], 1, device=at)
        taught = torch.from_numpy(task.taught).to(at)
        side = torch.from_numpy(task.taught_side).to(at)
        ways = torch.optim.AdamW(
            made.parameters(), lr=recipe["learning_rate"], weight_decay=recipe["decay"]
        )
        best, best_loss, best_round = _weights(made), np.inf, 0
        for number in range(1, (rounds or recipe["rounds"]) + 1):
            made.train()
            for picked in torch.randperm(len(taught)).to(at).split(recipe["batch"]):
                loss = nn.functional.cross_entropy(
                    made.scores(pool[taught[picked][:, None] + back]), side[picked]
                )
                ways.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(made.parameters(), STEEPEST)
                ways.step()
            said = _watched_loss(made, task, pool, back) if rounds is None else -float(number)
            if not np.isfinite(said) and rounds is None:
                raise BadInput("training", "its loss is no number", "take a lower learning rate")
            if said < best_loss:
                best, best_loss, best_round = _weights(made), said, number
            elif number - best_round >= recipe["patience"]:
                break
    return best, best_round


def loaded(scale: Scale, weights: Mapping[str, Float32], recipe: Mapping[str, Any]) -> Net:
    """Return the network of these weights, on the recipe's device where there is one."""
    made = Net(scale, recipe["levels"], recipe["channels"], recipe["dropout"])
    made.load_state_dict({name: torch.from_numpy(each.copy()) for name, each in weights.items()})
    made.eval()
    with suppress(LearnerAway):
        made.to(device(recipe["device"]))
    return made


def probabilities(made: Net, features: Float64) -> Float64:
    """Return the probability of each side of each window."""
    with _few_threads(len(features)), torch.inference_mode():
        parts = [made(part).cpu() for part in _parts(made, features)]
    said = torch.cat(parts) if len(parts) != 1 else parts[0]
    return np.asarray(said.numpy(), np.float64)


def explain(made: Net, features: Float64, steps: int) -> Float64:
    """Return integrated gradients of up less down from the mean row, and the rest, a row each."""
    found = [_explained(made, made.scaled(part), steps) for part in _parts(made, features)]
    return np.concatenate(found)


def _explained(made: Net, x: Any, steps: int) -> Float64:
    total = torch.zeros_like(x)
    for step in range(steps):
        at = (x * ((step + 0.5) / steps)).requires_grad_(True)
        said = made.scores(at)
        [slope] = torch.autograd.grad((said[:, -1] - said[:, 0]).sum(), at)
        total += slope
    parts = (total / steps * x).sum(dim=1).double()
    with torch.inference_mode():
        said = made.scores(x).double()
        rest = said[:, -1] - said[:, 0] - parts.sum(dim=1)
    return np.asarray(torch.cat([parts, rest[:, None]], dim=1).cpu().numpy(), np.float64)


def _parts(made: Net, features: Float64) -> Iterator[Any]:
    at = made.mean.device
    whole = torch.from_numpy(np.ascontiguousarray(features, np.float64))
    for start in range(0, max(1, len(whole)), AT_ONCE):
        yield whole[start : start + AT_ONCE].to(at)


def _watched_loss(made: Net, task: Task, pool: Any, back: Any) -> float:
    assert task.watched is not None
    assert task.watched_side is not None
    made.eval()
    last, side = torch.from_numpy(task.watched), torch.from_numpy(task.watched_side)
    total = 0.0
    with torch.inference_mode():
        for some, wanted in zip(last.split(AT_ONCE), side.split(AT_ONCE), strict=True):
            said = made.scores(pool[some.to(pool.device)[:, None] + back])
            total += float(
                nn.functional.cross_entropy(said, wanted.to(pool.device), reduction="sum")
            )
    return total / len(last)


def _weights(made: Net) -> dict[str, Float32]:
    return {name: each.cpu().numpy().copy() for name, each in made.state_dict().items()}


@contextmanager
def _few_threads(rows: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if rows > ONE_THREAD_ROWS_MAX or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _repeatable(seed: int, threads: int, at: Any) -> Iterator[None]:
    """Fix every random choice and the order of sums; afterwards torch is as it was."""
    before, chosen = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    cards = [at.index or 0] if at.type == "cuda" else []
    with torch.random.fork_rng(devices=cards):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(chosen)
            torch.set_num_threads(before)
