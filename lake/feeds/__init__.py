"""One pure codec per venue: bytes to Arrow columns."""
