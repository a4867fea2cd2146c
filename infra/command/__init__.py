"""The `ticklake` command: one module a verb, loaded when it is called."""
