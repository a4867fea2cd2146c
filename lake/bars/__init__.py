"""Bars of trades: how they are made, what a change changes, and the table that holds them."""
