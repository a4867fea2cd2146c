"""The demonstration: the main job, start to proof, in under a minute."""
