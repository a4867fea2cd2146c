"""Proof that nothing was lost, doubled or changed: every tier against the loss ledger."""
