"""Releases: cuts across all lake tables at one watermark, by name, that stay as they are."""
