"""What runs beside the lake and acts: frames as they arrive, live bars, risk, brokers."""
