"""Orders, matching, fees, positions: the same for a backtest and for the paper broker."""
