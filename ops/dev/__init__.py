"""Tools for developers: checks of the code and the locks, and the generated documentation."""
