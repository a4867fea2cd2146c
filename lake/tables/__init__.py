"""The lake: Iceberg tables and their upkeep."""
