"""Lineage: which column is made of which, who made it, and that told as OpenLineage events."""
