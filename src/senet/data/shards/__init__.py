"""Images in shards: tar files with an index, on a disk or in an object store."""
