"""The stack profile's software, installed into a folder of its own beside the system."""
