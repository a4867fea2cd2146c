"""Strategies live: a session's decisions are those of its replay and of its backtest."""
