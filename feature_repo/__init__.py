"""What research and live share: strategies, trading, features; pure."""
