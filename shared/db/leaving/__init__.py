"""How rows leave: by age when nothing needs them any more, or when a person erases them."""
