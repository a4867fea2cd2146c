"""What left the lake by age: files of Parquet in a place of their own, and their book."""
