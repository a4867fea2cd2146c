"""Our events are those that the official OpenLineage classes write, to the last key."""

from __future__ import annotations

import json
from typing import Any

from openlineage.client import event_v2
from openlineage.client.generated import (
    column_lineage_dataset,
    dataset_version_dataset,
    documentation_dataset,
    documentation_job,
    error_message_run,
    job_type_job,
    output_statistics_output_dataset,
    ownership_dataset,
    schema_dataset,
    storage_dataset,
)
from openlineage.client.serde import Serde

from flows.jobs import BARS
from lake.contracts.contract import load
from lake.lineage.event import PRODUCER, Told, document
from lake.lineage.job import Job, Written, hot, lake

RUN = "3f5e83fa-3480-44ff-99c5-ff943904e5e8"
AT_US = 1_723_118_400_000_001
SPACE = "desk"
STEP = "TRANSFORMATION"


def theirs(event: event_v2.RunEvent) -> Any:
    """Return what the official classes write; an empty list they leave out or not, as we do."""
    return json.loads(Serde.to_json(event))


def test_an_event_of_bars_is_what_the_official_classes_write() -> None:
    written = (Written(lake("bars"), 4711, 12),)
    ours = document(Told(BARS, RUN, "FAIL", AT_US, written, "Damaged: x"), SPACE)
    contract = load("bars")
    fields = {
        name: column_lineage_dataset.Fields(
            inputFields=[
                column_lineage_dataset.InputField(
                    each["namespace"],
                    each["name"],
                    each["field"],
                    [column_lineage_dataset.Transformation(**t) for t in each["transformations"]],
                )
                for each in found["inputFields"]
            ]
        )
        for name, found in ours["outputs"][0]["facets"]["columnLineage"]["fields"].items()
    }
    p = {"producer": PRODUCER}
    facets = {
        "columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet(fields=fields, **p),
        "documentation": documentation_dataset.DocumentationDatasetFacet(contract.description, **p),
        "ownership": ownership_dataset.OwnershipDatasetFacet(
            [ownership_dataset.Owner(f"team:{contract.owner}", "OWNER")], **p
        ),
        "schema": schema_dataset.SchemaDatasetFacet(
            [
                schema_dataset.SchemaDatasetFacetFields(c.name, c.physical_type, c.meaning)
                for c in contract.columns
            ],
            **p,
        ),
        "storage": storage_dataset.StorageDatasetFacet("iceberg", "parquet", **p),
        "version": dataset_version_dataset.DatasetVersionDatasetFacet("4711", **p),
    }
    rows = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=12, **p)
    event = event_v2.RunEvent(
        eventTime="2024-08-08T12:00:00.000001+00:00",
        eventType=event_v2.RunState.FAIL,
        run=event_v2.Run(
            RUN,
            {"errorMessage": error_message_run.ErrorMessageRunFacet("Damaged: x", "PYTHON", **p)},
        ),
        job=event_v2.Job(
            SPACE,
            "trades_to_bars",
            {
                "documentation": documentation_job.DocumentationJobFacet(BARS.description, **p),
                "jobType": job_type_job.JobTypeJobFacet("BATCH", "TICKLAKE", "JOB", **p),
            },
        ),
        inputs=[event_v2.InputDataset(SPACE, name) for name in BARS.reads],
        outputs=[
            event_v2.OutputDataset(
                SPACE, lake("bars"), facets=facets, outputFacets={"outputStatistics": rows}
            )
        ],
        producer=PRODUCER,
    )
    assert ours == theirs(event)


def test_columns_of_a_bar_lead_through_its_own_to_what_the_job_reads() -> None:
    event = document(Told(BARS, RUN, "COMPLETE", AT_US), SPACE)
    fields = event["outputs"][0]["facets"]["columnLineage"]["fields"]
    vwap = {(each["name"], each["field"]) for each in fields["vwap"]["inputFields"]}
    assert vwap == {
        *((at("crypto_trades"), name) for at in (hot, lake) for name in ("price", "size")),
        *((at("crypto_aggregates"), name) for at in (hot, lake) for name in ("vwap", "volume")),
    }
    assert {t["subtype"] for t in fields["vwap"]["inputFields"][0]["transformations"]} == {STEP}


def test_a_move_from_hot_to_lake_keeps_every_column_as_it_is() -> None:
    job = Job("hot_to_lake", "Moves.", (hot("feed_gaps"),), (lake("feed_gaps"),))
    (output,) = document(Told(job, RUN, "START", AT_US), SPACE)["outputs"]
    fields = output["facets"]["columnLineage"]["fields"]
    assert set(fields) == set(load("feed_gaps").names)
    for name, found in fields.items():
        (source,) = found["inputFields"]
        assert (source["name"], source["field"]) == (hot("feed_gaps"), name)
        assert source["transformations"] == [{"type": "DIRECT", "subtype": "IDENTITY"}]


def test_what_a_run_read_at_a_snapshot_says_which() -> None:
    job = Job("release", "Tags.", (lake("bars"),), (hot("releases"),))
    told = Told(job, RUN, "COMPLETE", AT_US, (Written(lake("bars"), 7),))
    event = document(told, SPACE)
    assert event["inputs"][0]["facets"]["version"]["datasetVersion"] == "7"
    assert [each["name"] for each in event["outputs"]] == [hot("releases")]


def test_a_brief_event_has_snapshots_and_no_schemas() -> None:
    told = Told(BARS, RUN, "RUNNING", AT_US, (Written(lake("bars"), 7, 1),), brief=True)
    (output,) = document(told, SPACE)["outputs"]
    assert set(output["facets"]) == {"version"}
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 1
