"""Strategies: each one small class, the same in a backtest and live."""
