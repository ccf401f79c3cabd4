"""A number with its noun, as a person says it."""


def counted(number: int, one: str, many: str = "") -> str:
    """Return "1 job" or "2 jobs"; `many` is said of every number but 1, if an s more does not make it of `one`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
