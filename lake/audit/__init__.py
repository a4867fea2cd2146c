"""Audits: the whole lake counted and checked, the result signed and kept."""
