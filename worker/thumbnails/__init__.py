"""Small images for people, made by a decoder in a process of its own that may die at any image."""
