"""Great Expectations suites, generated from the contracts, and their verdict on a batch.

A suite asks of every required column that it has values and of every rule that it holds; it judges
the patterns of a batch, a handful of rows (its engine hashes every frame it is given, decimals one
by one: half a minute for a million). Importing this takes seconds: only who checks does.
"""

from __future__ import annotations

from collections.abc import Mapping

import great_expectations as gx
import great_expectations.expectations as gxe
import pyarrow as pa
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)

from lake.contracts.contract import Contract
from lake.quality.contract_rules import NOT_NULL, RULE_PREFIX, once_rules, row_rules


class Suites:
    """The suites of a run, made when first asked for; one thread uses them at a time."""

    def __init__(self) -> None:
        stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)  # else a folder stays
        config = DataContextConfig(store_backend_defaults=stores)
        self._context = gx.get_context(mode="ephemeral", project_config=config)
        self._context.variables.progress_bars = ProgressBarsConfig(
            globally=False, metric_calculations=False
        )
        self._source = self._context.data_sources.add_pandas("batches")
        self._made: dict[str, gx.ValidationDefinition] = {}

    def judge(self, contract: Contract, patterns: pa.Table) -> Mapping[str, bool]:
        """Tell of each rule of a contract whether the patterns of a batch keep it."""
        found = self._of(contract).run(batch_parameters={"dataframe": patterns.to_pandas()})
        return {each.expectation_config.meta["rule"]: bool(each.success) for each in found.results}

    def _of(self, contract: Contract) -> gx.ValidationDefinition:
        if contract.name not in self._made:
            asset = self._source.add_dataframe_asset(contract.name)
            self._made[contract.name] = self._context.validation_definitions.add(
                gx.ValidationDefinition(
                    name=contract.name,
                    data=asset.add_batch_definition_whole_dataframe("new rows"),
                    suite=self._context.suites.add(suite_of(contract)),
                )
            )
        return self._made[contract.name]


def suite_of(contract: Contract) -> gx.ExpectationSuite:
    """Return a contract's suite; each expectation names its rule in `meta`.

    Columns `rule: NAME` are true where the rule holds: lake.quality.contract_rules makes them.
    """
    expectations = []
    rules = [each.rule for each in row_rules(contract)]
    for rule in (*rules, *(each.rule for each in once_rules(contract))):
        name = rule.name
        meta = {"rule": name, "meaning": rule.meaning, "dimension": rule.dimension}
        if name.startswith(NOT_NULL):
            column = name.removeprefix(NOT_NULL)
            expectations.append(gxe.ExpectColumnValuesToNotBeNull(column=column, meta=meta))
        else:
            expectations.append(
                gxe.ExpectColumnValuesToBeInSet(
                    column=RULE_PREFIX + name, value_set=[True], meta=meta
                )
            )
    return gx.ExpectationSuite(
        name=f"{contract.name} {contract.version}",
        expectations=expectations,
        meta={"contract": contract.name, "version": contract.version},
    )
