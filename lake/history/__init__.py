"""What venues tell of the past over REST, and files of it: pages of rows, in the order of time."""
