"""A run of a job as an OpenLineage 2-0-2 event: a plain document, as any receiver reads it.

The official client's classes take a second of import and its transport waits where its queue is
full; so the documents are made here, and a test holds them equal to what those classes write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lake.clock import utc_from_us
from lake.contracts.contract import DATASETS, Contract, load
from lake.lineage.job import HOT, LAKE, ONLINE, Job, Written, dataset_at

EventType = Literal["START", "RUNNING", "COMPLETE", "FAIL", "ABORT"]
ENDS = ("COMPLETE", "FAIL", "ABORT")

PRODUCER = "urn:ticklake"
SPEC = "https://openlineage.io/spec"
EVENT_SCHEMA = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"

FACETS: Mapping[str, tuple[str, str]] = {
    "columnLineage": ("1-2-0", "ColumnLineageDatasetFacet"),
    "documentation": ("1-1-0", "DocumentationDatasetFacet"),
    "ownership": ("1-0-1", "OwnershipDatasetFacet"),
    "schema": ("1-2-0", "SchemaDatasetFacet"),
    "storage": ("1-0-1", "StorageDatasetFacet"),
    "version": ("1-0-1", "DatasetVersionDatasetFacet"),
    "outputStatistics": ("1-0-2", "OutputStatisticsOutputDatasetFacet"),
    "jobType": ("2-0-4", "JobTypeJobFacet"),
    "jobDocumentation": ("1-1-0", "DocumentationJobFacet"),
    "errorMessage": ("1-0-1", "ErrorMessageRunFacet"),
}
"""Facet -> version and name of its schema."""

STORAGE: Mapping[str, Mapping[str, str]] = {
    HOT: {"storageLayer": "postgresql"},
    LAKE: {"storageLayer": "iceberg", "fileFormat": "parquet"},
    ONLINE: {"storageLayer": "redis"},
}
"""Where a dataset rests -> what keeps it."""


@dataclass(frozen=True, slots=True)
class Told:
    """One event: of which run of which job, when (UTC microseconds), and what it did.

    run_id: a UUID. brief: leave out schemas and columns, which an earlier event of the run has.
    """

    job: Job
    run_id: str
    type: EventType
    at_us: int
    written: tuple[Written, ...] = ()
    fault: str = ""
    brief: bool = False


def document(told: Told, namespace: str) -> dict[str, Any]:
    """Return the event's document."""
    job = told.job
    done = {each.name: each for each in told.written}
    facets = {
        "documentation": _facet("jobDocumentation", description=job.description),
        "jobType": _facet(
            "jobType",
            processingType="STREAMING" if job.streaming else "BATCH",
            integration="TICKLAKE",
            jobType="JOB",
        ),
    }
    fault = {
        "errorMessage": _facet("errorMessage", message=told.fault, programmingLanguage="PYTHON")
    }
    names = dict.fromkeys([*job.writes, *(name for name in done if name not in job.reads)])
    return {
        "eventTime": utc_from_us(told.at_us).isoformat(timespec="microseconds"),
        "eventType": told.type,
        "inputs": [
            {
                "namespace": namespace,
                "name": name,
                "facets": _version(done.get(name)),
                "inputFacets": {},
            }
            for name in job.reads
        ],
        "job": {"namespace": namespace, "name": job.name, "facets": facets},
        "outputs": [
            _output(namespace, name, job, done.get(name), brief=told.brief) for name in names
        ],
        "producer": PRODUCER,
        "run": {"runId": told.run_id, "facets": fault if told.fault else {}},
        "schemaURL": EVENT_SCHEMA,
    }


def _output(
    namespace: str, name: str, job: Job, done: Written | None, *, brief: bool
) -> dict[str, Any]:
    dataset = dataset_at(name)
    facets: dict[str, Any] = {}
    if dataset in DATASETS and not brief:
        contract = load(dataset)
        facets = {
            "columnLineage": _column_lineage(
                namespace, contract, [each for each in job.reads if each != name]
            ),
            "documentation": _facet("documentation", description=contract.description),
            "ownership": _facet(
                "ownership", owners=[{"name": f"team:{contract.owner}", "type": "OWNER"}]
            ),
            "schema": _facet("schema", fields=_fields(contract)),
            "storage": _facet("storage", **STORAGE[name.removesuffix(f".{dataset}")]),
        }
        facets = {key: facet for key, facet in facets.items() if facet}
    facets |= _version(done)
    statistics = (
        {"outputStatistics": _facet("outputStatistics", rowCount=done.rows)}
        if done is not None and done.rows is not None
        else {}
    )
    return {"namespace": namespace, "name": name, "facets": facets, "outputFacets": statistics}


def _version(done: Written | None) -> dict[str, Any]:
    if done is None or done.snapshot_id is None:
        return {}
    return {"version": _facet("version", datasetVersion=str(done.snapshot_id))}


def _fields(contract: Contract) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            "type": column.physical_type,
            "description": column.meaning,
            "fields": [],
        }
        for column in contract.columns
    ]


def _column_lineage(
    namespace: str, contract: Contract, reads: Iterable[str]
) -> dict[str, Any] | None:
    """Return which column is made of which of what the job reads; None where none is.

    A job that reads the same dataset elsewhere moves its columns as they are.
    """
    places: dict[str, list[str]] = {}
    for name in reads:
        places.setdefault(dataset_at(name), []).append(name)
    fields = {}
    for column in contract.columns:
        if contract.name in places:
            found = [(at, column.name) for at in places[contract.name]]
            how = {"type": "DIRECT", "subtype": "IDENTITY"}
        else:
            found = [
                (at, source.rpartition(".")[2])
                for source in _beyond(contract, column.sources)
                for at in places.get(source.rpartition(".")[0], ())
            ]
            how = {"type": "DIRECT", "subtype": "TRANSFORMATION", "description": column.transform}
        if found:
            fields[column.name] = {
                "inputFields": [
                    {
                        "namespace": namespace,
                        "name": at,
                        "field": source,
                        "transformations": [{k: v for k, v in how.items() if v}],
                    }
                    for at, source in found
                ]
            }
    return _facet("columnLineage", fields=fields, dataset=[]) if fields else None


def _beyond(contract: Contract, sources: Iterable[str]) -> list[str]:
    """Return what columns are made of outside their own dataset, each once."""
    found: dict[str, None] = {}
    for source in sources:
        dataset, _, column = source.rpartition(".")
        if dataset == contract.name:
            found |= dict.fromkeys(_beyond(contract, contract.column(column).sources))
        else:
            found[source] = None
    return list(found)


def _facet(kind: str, **values: Any) -> dict[str, Any]:
    version, name = FACETS[kind]
    url = f"{SPEC}/facets/{version}/{name}.json#/$defs/{name}"
    return {"_producer": PRODUCER, "_schemaURL": url, **values}
