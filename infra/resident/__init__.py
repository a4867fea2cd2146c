"""Processes of ours that stay beside the servers."""
