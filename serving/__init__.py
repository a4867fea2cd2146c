"""What runs live beside the lake: orders and their ledger."""
