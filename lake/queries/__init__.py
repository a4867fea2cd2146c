"""The library of SQL statements: what there is, its parameters, one source for two engines."""
