"""A small temporal convolution by torch, on the newest rows of a series together.

It is a TCN of kernel 2 and dilations 1, 2, 4, ... (Bai et al. 2018), computed at the steps alone
that its last output sees: each level joins neighbours in pairs, so that a window of 2**levels rows
ends in one. The same rows, seed, device and threads give the same bytes. A prediction is read as a
tree's is; a window counts the rows that there are, whatever the time between them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from feature_repo.models.learner import SEQUENCE, LearnerAway, Range, Samples
from feature_repo.models.rows import Rows
from lake.errors import BadInput

try:
    import torch

    from feature_repo.models import sequence_net as net
except ImportError as error:  # an extra: its wheel brings CUDA
    raise LearnerAway(
        "torch",
        "is not installed" if error.name == "torch" else str(error),
        "pip install 'ticklake[torch]' (4.5 GB with CUDA), or take the learner lightgbm",
    ) from error

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

FORMAT = 1
LEVELS_MAX = 10
ROUNDS_MAX = 1_000
SEED_MAX = 2**31 - 1
EXPLAIN_STEPS = 16


@dataclass(frozen=True, slots=True)
class SequenceRecipe:
    """How a sequence model is trained. rounds: most passes over the rows; levels: log2 of a window.

    patience: passes without a gain that end it early; device: torch's name, cpu or cuda.
    BadInput for bounds that make no sense.
    """

    learner: ClassVar[str] = SEQUENCE
    space: ClassVar[tuple[Range, ...]] = (
        Range("levels", 2, 6, whole=True),
        Range("channels", 8, 64, log=True, whole=True),
        Range("learning_rate", 3e-4, 1e-2, log=True),
        Range("dropout", 0.0, 0.5),
        Range("decay", 1e-4, 1e-1, log=True),
    )

    rounds: int = 60
    patience: int = 6
    levels: int = 5
    channels: int = 32
    dropout: float = 0.1
    learning_rate: float = 2e-3
    decay: float = 1e-2
    batch: int = 256
    seed: int = 20251010
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        fits = (
            1 <= self.rounds <= ROUNDS_MAX
            and self.patience >= 1
            and 1 <= self.levels <= LEVELS_MAX
            and 1 <= self.channels <= 1_024
            and 0 <= self.dropout < 1
            and 0 < self.learning_rate <= 1
            and 0 <= self.decay <= 1
            and 1 <= self.batch <= 2**20
            and 0 <= self.seed <= SEED_MAX
            and self.threads >= 1
        )
        if not fits:
            raise BadInput("recipe", f"{self} is out of bounds", f"rounds 1 to {ROUNDS_MAX:,}")

    @property
    def window(self) -> int:
        """Return how many rows a prediction is made of."""
        return int(2**self.levels)

    def changed(self, values: Mapping[str, Any]) -> SequenceRecipe:
        """Return it with other values of these fields."""
        return replace(self, **values)

    def config(self) -> dict[str, Any]:
        """Return its fields, as JSON has them."""
        return asdict(self)

    def samples(self, rows: Rows) -> Samples:
        """Return the windows of these rows. Raises as Windows does, and as sequence_net.device."""
        net.device(self.device)
        return Windows(rows, self)


Recipe = SequenceRecipe


class Windows:
    """The newest `window` rows of a series at each of its rows, gathered when they are asked for.

    Raises BadInput where no series has so many, and where a row was known after a newer one of its
    series: whoever decided at the newer one could not have seen it.
    """

    def __init__(self, rows: Rows, recipe: SequenceRecipe) -> None:
        self._recipe = recipe
        order = np.lexsort((rows.event_us, rows.series))
        series, known = rows.series[order], rows.available_us[order]
        same = series[1:] == series[:-1]
        late = int((same & (known[1:] < known[:-1])).sum())
        if late:
            fault = f"{late:,} of a series were known only after newer ones"
            raise BadInput("training rows", fault, "leave out what came late")
        begins = np.concatenate(([0], np.flatnonzero(~same) + 1))
        age = np.arange(len(order)) - np.repeat(begins, np.diff([*begins, len(order)]))
        last = np.flatnonzero(age >= recipe.window - 1)
        if not len(last):
            fault = f"are fewer than a window of {recipe.window:,} in every series"
            raise BadInput("training rows", fault, "take a longer span, or fewer levels")
        self._pool = rows.features[order]
        self._last = last[np.argsort(order[last], kind="stable")]
        self.places: Int64 = order[self._last]
        self.rows = rows.of(self.places)

    def features(self, places: Int64) -> Float64:
        """Return windows: rows by window by features, oldest row first."""
        return self._pool[self._lines(self._last[places])]

    def fit(self, taught: Int64, watched: Int64 | None, rounds: int | None = None) -> SequenceModel:
        """Train on windows, as feature_repo.models.learner.Samples says."""
        recipe = self._recipe
        seen = self._pool[np.unique(self._lines(self._last[taught]))]
        spread = seen.std(axis=0)
        scale = net.Scale(seen.mean(axis=0), np.where(spread > 0, spread, 1.0))
        task = net.Task(
            self._pool,
            self._last[taught],
            self.rows.side[taught] + 1,
            None if watched is None else self._last[watched],
            None if watched is None else self.rows.side[watched] + 1,
        )
        weights, done = net.train(task, scale, asdict(recipe), rounds)
        return _model(self.rows.names, recipe, done, scale, weights)

    def _lines(self, last: Int64) -> Int64:
        return last[:, None] + np.arange(1 - self._recipe.window, 1)


@dataclass(frozen=True, slots=True)
class SequenceModel:
    """A trained model. names: features of a row; text: JSON, weights as base64 of float32."""

    names: tuple[str, ...]
    text: str
    recipe: SequenceRecipe
    rounds: int
    _net: Any = field(repr=False, compare=False)

    @property
    def window(self) -> int:
        """Return how many rows a prediction is made of."""
        return self.recipe.window

    @property
    def network(self) -> Any:
        """Return torch's module: windows of doubles to probabilities."""
        return self._net

    @property
    def hash(self) -> str:
        """Return the SHA-256 of the model's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def probabilities(self, features: Float64) -> Float64:
        """Return the probability of each side, a window each, in the order of SIDES.

        features: windows by rows by features, oldest row first.
        """
        self.check(features)
        return net.probabilities(self._net, features)

    def explain(self, features: Float64) -> Float64:
        """Return what each feature adds to log-odds of up over down; the last column is the rest.

        Integrated gradients (Sundararajan et al. 2017) from the mean row, summed over the window;
        what EXPLAIN_STEPS steps leave over is in the rest. A row's sum is the raw score of up less
        that of down.
        """
        self.check(features)
        return net.explain(self._net, features, EXPLAIN_STEPS)

    def check(self, features: Float64) -> None:
        """Raise BadInput for windows of another shape, or with what is no number."""
        shape = (self.recipe.window, len(self.names))
        if features.ndim != 3 or features.shape[1:] != shape:
            fault = f"has shape {features.shape}, the model takes windows of {shape}"
            raise BadInput("feature window", fault, f"give rows of {', '.join(self.names)}")
        if not np.isfinite(features).all():
            count = int((~np.isfinite(features)).sum())
            fault = f"{count:,} values are NaN or infinite"
            raise BadInput("feature window", fault, "leave such rows out")

    def write_mlflow(self, folder: Path) -> None:
        """Write it for mlflow.pytorch.load_model, as torch.export's program: no code of ours."""
        models, types = import_module("mlflow.models"), import_module("mlflow.types")
        # two: of one, the exporter would take the batch for a constant
        shown = np.zeros((2, self.recipe.window, len(self.names)))
        of = (-1, *shown.shape[1:])
        signature = models.ModelSignature(
            inputs=types.Schema([types.TensorSpec(np.dtype(np.float64), of)]),
            outputs=types.Schema([types.TensorSpec(np.dtype(np.float64), (-1, 3))]),
        )
        import_module("mlflow.pytorch").save_model(
            self._net.cpu().eval(),
            str(folder),
            signature=signature,
            input_example=shown,
            serialization_format="pt2",
            pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}"],
        )


def read_model(text: str, names: Sequence[str]) -> SequenceModel:
    """Return the model of its text; BadInput where it was trained on other features.

    It runs on its recipe's device where there is one, else on the CPU.
    """
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']}")
        weights = {
            name: np.frombuffer(base64.b64decode(each["values"]), "<f4").reshape(each["shape"])
            for name, each in document["weights"].items()
        }
        recipe = SequenceRecipe(**document["recipe"])
        scale = net.Scale(np.asarray(document["mean"]), np.asarray(document["spread"]))
        took, rounds = document["names"], int(document["rounds"])
        made = net.loaded(scale, weights, asdict(recipe))
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        fault = f"is no sequence model ({str(error).partition(chr(10))[0]})"
        raise BadInput("model", fault, "train it again") from error
    if took != list(names):
        raise BadInput(
            "model",
            f"takes {', '.join(took)}, not {', '.join(names)}",
            "choose the model of this feature set, or train one",
        )
    return SequenceModel(tuple(names), text, recipe, rounds, made)


def _model(
    names: tuple[str, ...],
    recipe: SequenceRecipe,
    rounds: int,
    scale: net.Scale,
    weights: Mapping[str, npt.NDArray[np.float32]],
) -> SequenceModel:
    document = {
        "format": FORMAT,
        "names": list(names),
        "recipe": asdict(recipe),
        "rounds": rounds,
        "mean": scale.mean.tolist(),
        "spread": scale.spread.tolist(),
        "weights": {
            name: {
                "shape": list(each.shape),
                "values": base64.b64encode(each.astype("<f4").tobytes()).decode(),
            }
            for name, each in weights.items()
        },
    }
    return read_model(json.dumps(document, sort_keys=True), names)
