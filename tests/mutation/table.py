"""Every mutant, in the order of the road."""

from typing import Final

from tests.mutation import lifecycle, money, pictures, promises, usage, wire
from tests.mutation.mutant import Mutant

MUTANTS: Final[tuple[Mutant, ...]] = (
    *lifecycle.MUTANTS,
    *money.MUTANTS,
    *wire.MUTANTS,
    *pictures.MUTANTS,
    *promises.MUTANTS,
    *usage.MUTANTS,
)
