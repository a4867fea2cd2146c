"""Proof that nothing was lost, doubled or changed: journal, hot tier and lake against the ledger."""
