"""What there is to learn: each task turns its data into batches and says what an error costs."""
