"""Images for training and evaluation: one file per source, and what turns images into batches."""
