"""Pictures of lineage."""
