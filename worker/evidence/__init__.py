"""Evidence of paid calls: committed to the database, and kept on disk or in the bucket until then."""
