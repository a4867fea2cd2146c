"""Receipts: what a result was made of, so that it can be made again and compared."""
