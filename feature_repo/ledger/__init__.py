"""Orders as events that are added and never changed; what is held is made of them."""
