"""What is ordered: jobs over the five providers; each prompt begins with its custom_id, and names its job alone."""

from typing import Any, Final

from tests.chaos.points import PROVIDERS

_MODELS: Final = {
    "getimg": "seedream-5-lite",
    "openrouter": "bytedance-seed/seedream-4.5",
    "posteverywhere": "flux-schnell",
}
_MOST: Final = {"bloom": 3, "openrouter": 2}
"""Images a job, where a provider makes several at once: one job of four asks for that many."""
_SEVERAL_EVERY: Final = 4
_REFUSED_EVERY: Final = 51  # five providers do not divide it: each has its turn


def one(provider: str, custom_id: str, *, n: int = 1, mark: str = "") -> dict[str, Any]:
    """Return one row of one provider."""
    # Its accent and quotes are what a provider may echo in another form.
    prompt = f'{custom_id} a harbour with "Caf\u00e9" on a sign {mark}'
    row: dict[str, Any] = {"provider": provider, "custom_id": custom_id, "prompt": prompt}
    if model := _MODELS.get(provider):
        row["model"] = model
    if n > 1:
        row["n"] = n
    return row


def many(count: int, tag: str) -> list[dict[str, Any]]:
    """Return `count` rows, dealt out over the providers; one of fifty meets the provider's safety check."""
    rows = []
    for number in range(count):
        provider = PROVIDERS[number % len(PROVIDERS)]
        turn = number // len(PROVIDERS)
        n = _MOST.get(provider, 1) if turn % _SEVERAL_EVERY == 0 else 1
        mark = "[sim:moderated]" if number % _REFUSED_EVERY == _REFUSED_EVERY - 1 else ""
        rows.append(one(provider, f"{tag}-{provider}-{number:05}", n=n, mark=mark))
    return rows


def refused_on_purpose(prompt: str) -> bool:
    """Tell whether the simulator's safety check was asked to refuse this prompt."""
    return "[sim:moderated]" in prompt
