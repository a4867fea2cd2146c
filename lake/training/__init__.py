"""Training sets: values of feature tables at the rows that ask for them, as they stood then."""
