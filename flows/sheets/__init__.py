"""What a sheet of a backtest is made of: its page and its style."""
