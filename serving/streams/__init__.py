"""Redis Streams between ingest and whoever acts on ticks: bounded, numbered, never waited for."""
