"""The registry of models: MLflow's, in the home's own SQLite or at the stack's server.

A version is entered in one step, once everything it consists of is stored: whoever dies before
leaves no version, but a run that says RUNNING, which the next training of that model ends as
KILLED.
Roles are MLflow's aliases: models:/NAME@champion is what is in use.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy.exc

from feature_repo.models.learner import TREES, Model, read_model
from feature_repo.models.registry_place import RegistryPlace, see_it_answers, tell_mlflow
from lake.errors import BadInput, Damaged, Unavailable, WrongUse
from lake.steps import Steps

ROLES = ("champion", "challenger", "shadow")
MODEL_FILE = "model.txt"
CARD_FILE = "card.json"
EXTRA_TAG = "ticklake."
VERSIONS_MAX = 1_000
STALE_RUNS_MAX = 1_000
MODELS_MAX = 200


@dataclass(frozen=True, slots=True)
class Card:
    """What a version is made of, beside the model itself.

    features: the signature, in order. facts: release, feature versions, label, code, libraries,
    recipe, as JSON has them. metrics: what the walk-forward tests said.
    """

    name: str
    features: tuple[str, ...]
    facts: Mapping[str, Any] = field(hash=False)
    metrics: Mapping[str, float] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a model as the registry has it; roles: of ROLES."""

    name: str
    version: int
    run_id: str
    model_hash: str
    roles: tuple[str, ...]
    created_us: int
    source: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A model as the registry has it now. roles: role -> version; tags: those of the model."""

    name: str
    roles: Mapping[str, int]
    tags: Mapping[str, str]


class Registry:
    """One process's way to it. Each call raises Unavailable where MLflow does not answer."""

    def __init__(self, place: RegistryPlace, *, steps: Steps | None = None) -> None:
        self.place = place
        self._steps = steps or Steps()
        tell_mlflow(place)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        with warnings.catch_warnings():
            # of type hints of its own, at its import
            warnings.filterwarnings("ignore", ".*Any type hint is inferred", UserWarning)
            import_module("mlflow.pyfunc")
        self._artifacts = import_module("mlflow.artifacts")
        self._fault = import_module("mlflow.exceptions").MlflowException
        with self._faults():
            client = import_module("mlflow.tracking").MlflowClient
            self._client = client(place.tracking, registry_uri=place.tracking)
            self._client.search_experiments(max_results=1)

    def register(self, model: Model, card: Card, files: Mapping[str, str | bytes]) -> Version:
        """Store a model with its card and files, then enter it as the next version.

        files: name -> content, beside the model. The caller sees to it that only one trains a model
        of this name at a time.
        """
        with self._faults():
            run_id = self._begin(card)
            with tempfile.TemporaryDirectory(prefix="ticklake-model-") as folder:
                self._write(Path(folder) / "model", model, card, files)
                self._client.log_artifacts(run_id, str(Path(folder) / "model"), "model")
            self._steps.at("model.files")
            source = f"{self._client.get_run(run_id).info.artifact_uri}/model"
            tags = {f"{EXTRA_TAG}model_hash": model.hash}
            self._client.set_terminated(run_id, "FINISHED")
            if not self._client.search_registered_models(f"name = '{card.name}'"):
                self._client.create_registered_model(card.name)
            made = self._client.create_model_version(card.name, source, run_id, tags=tags)
            self._steps.at("model.version")
            return self._version(self._client.get_model_version(card.name, made.version))

    def set_role(self, name: str, version: int, role: str) -> None:
        """Give a version a role; who had it has it no more. WrongUse where there is no such one."""
        if role not in ROLES:
            raise WrongUse(f"role {role}", "is unknown", f"one of {', '.join(ROLES)}")
        if version not in {each.version for each in self.versions(name)}:
            raise WrongUse(f"model {name}", f"has no version {version}", "see the ones it has")
        with self._faults():
            self._steps.at("model.role")
            self._client.set_registered_model_alias(name, role, str(version))

    def standings(self) -> list[Standing]:
        """Return every model with its roles and tags, by name: one question, for who asks often."""
        with self._faults():
            found = self._client.search_registered_models(max_results=MODELS_MAX)
        return [
            Standing(
                each.name,
                {role: int(each.aliases[role]) for role in ROLES if role in each.aliases},
                dict(each.tags),
            )
            for each in sorted(found, key=lambda each: str(each.name))
        ]

    def set_tag(self, name: str, key: str, value: str) -> None:
        """Give a model a tag; WrongUse where there is no such model."""
        if name not in {each.name for each in self.standings()}:
            raise WrongUse(f"model {name}", "is not there", "train it: ticklake train")
        with self._faults():
            self._client.set_registered_model_tag(name, key, value)

    def version(self, name: str, number: int) -> Version:
        """Return a version by its number; BadInput where there is none."""
        with self._faults():
            return self._version(self._client.get_model_version(name, str(number)))

    def versions(self, name: str = "") -> list[Version]:
        """Return the versions of a model, or of all, oldest first by name."""
        chosen = f"name = '{name}'" if name else ""
        with self._faults():
            found = self._client.search_model_versions(chosen, max_results=VERSIONS_MAX)
            # a search leaves out the aliases
            whole = [self._client.get_model_version(each.name, each.version) for each in found]
        return sorted(map(self._version, whole), key=lambda each: (each.name, each.version))

    def find(self, name: str, which: str | int) -> Version:
        """Return a version by number or role; WrongUse where there is none."""
        for each in self.versions(name):
            if which == each.version or which in each.roles:
                return each
        raise WrongUse(f"model {name}", f"has no {which}", "train one, or name another")

    def load(self, found: Version) -> tuple[Model, Card]:
        """Return a version's model and card.

        Raises Damaged where its files are not those that were entered; BadInput where the model
        takes other features than its card says; LearnerAway where its learner is not installed.
        """
        text, card = self.stored(found)
        return read_model(card.facts.get("learner", TREES), text, card.features), card

    def stored(self, found: Version) -> tuple[str, Card]:
        """Return a version's text and card, without its learner; Damaged as load says."""
        with self._faults(), tempfile.TemporaryDirectory(prefix="ticklake-model-") as folder:
            place = Path(
                self._artifacts.download_artifacts(
                    artifact_uri=found.source, dst_path=folder, tracking_uri=self.place.tracking
                )
            )
            try:
                document = json.loads((place / CARD_FILE).read_bytes())
                text = (place / MODEL_FILE).read_text(encoding="utf-8")
                document["features"] = tuple(document["features"])
                card = Card(**document)
            except (OSError, ValueError, KeyError, TypeError) as error:
                thing = f"model {found.name} {found.version}"
                raise Damaged(thing, f"has no whole card ({error})", "train it again") from error
        if hashlib.sha256(text.encode()).hexdigest() != found.model_hash:
            thing = f"model {found.name} {found.version}"
            raise Damaged(thing, "is not the model that was entered", "train it again")
        return text, card

    def file(self, found: Version, name: str) -> bytes:
        """Return a file that lies beside a version's model; Damaged where there is none."""
        with self._faults(), tempfile.TemporaryDirectory(prefix="ticklake-model-") as folder:
            try:
                place = self._artifacts.download_artifacts(
                    artifact_uri=f"{found.source}/{name}",
                    dst_path=folder,
                    tracking_uri=self.place.tracking,
                )
                return Path(place).read_bytes()
            except OSError as error:
                thing = f"model {found.name} {found.version}"
                raise Damaged(thing, f"has no {name} beside it", "train it again") from error

    def _begin(self, card: Card) -> str:
        """Begin a run, ending those of this model that died; return its id."""
        named = self._client.get_experiment_by_name(card.name)
        experiment = (
            named.experiment_id
            if named
            else self._client.create_experiment(card.name, self._place_of(card.name))
        )
        dead = self._client.search_runs(
            [experiment], "attributes.status = 'RUNNING'", max_results=STALE_RUNS_MAX
        )
        for run in dead:
            self._client.set_terminated(run.info.run_id, "KILLED")
        run_id = str(self._client.create_run(experiment).info.run_id)
        self._steps.at("model.run")
        for key, value in card.facts.items():
            said = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            self._client.set_tag(run_id, f"{EXTRA_TAG}{key}", said)
        for key, metric in card.metrics.items():
            self._client.log_metric(run_id, key, metric)
        return run_id

    def _place_of(self, name: str) -> str | None:
        return f"{self.place.artifacts}/{name}" if self.place.artifacts else None

    def _write(
        self, folder: Path, model: Model, card: Card, files: Mapping[str, str | bytes]
    ) -> None:
        """Write what MLflow's own loader reads, and beside it what ours does."""
        model.write_mlflow(folder)
        document = {
            "name": card.name,
            "features": list(card.features),
            "facts": dict(card.facts),
            "metrics": dict(card.metrics),
        }
        own = {
            MODEL_FILE: model.text,
            CARD_FILE: json.dumps(document, indent=2, sort_keys=True) + "\n",
        }
        for name, content in {**files, **own}.items():
            raw = content.encode() if isinstance(content, str) else content
            (folder / name).write_bytes(raw)

    def _version(self, found: Any) -> Version:
        return Version(
            found.name,
            int(found.version),
            found.run_id,
            found.tags.get(f"{EXTRA_TAG}model_hash", ""),
            tuple(role for role in ROLES if role in found.aliases),
            int(found.creation_timestamp) * 1_000,
            found.source,
        )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Raise in our words what MLflow meets."""
        try:
            see_it_answers(self.place)
            yield
        except (httpx.HTTPError, sqlalchemy.exc.SQLAlchemyError) as error:
            first = str(error).strip().partition("\n")[0]
            remedy = "start it: ticklake up; see: ticklake status"
            raise Unavailable(self.place.words, first or type(error).__name__, remedy) from error
        except self._fault as error:
            first = str(error).strip().partition("\n")[0]
            raise BadInput(self.place.words, first, "see the server's log") from error
