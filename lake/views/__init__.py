"""What a query sees: the lake part, the hot part, and their union at one watermark."""
