"""SQL only: numbered migrations of the hot tier, and one statement per file."""
