"""The journal: every frame as it arrived, durable before anything else happens to it."""
