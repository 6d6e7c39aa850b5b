"""What tables, pictures and the command line call models. Every posterior head with a density has one line here."""

from collections.abc import Sequence
from typing import NamedTuple

LARGEST_DIMENSION = 10_000


class Head(NamedTuple):
    """What a head is called."""

    short: str  # in the name of a model: "S" in S-VAE
    law: str  # in full
    spherical: bool = True  # z lies on a sphere S^d, with d + 1 coordinates


HEADS = {  # by letter, in the order of the rows
    "n": Head("N", "Gaussian", spherical=False),
    "s": Head("S", "von Mises-Fisher"),
    "ps": Head("PS", "Power Spherical"),
    "c": Head("C", "spherical Cauchy"),
}

SAMPLERS = {  # of S-VAEs: that of the library, and the foils of it
    "s": "exact",
    "s-path": "pathwise gradient",
    "s-clip": "public law and gradient",
}

PLAIN = "-plain"  # ends the letter of a VGAE whose decoder is the bare inner product: "n-plain"


def legend() -> str:
    """Return what each letter stands for, for the help of a command."""
    return ", ".join(f"{letter} ({head.law})" for letter, head in HEADS.items())


def vae(kind: str) -> str:
    """Return the name of a VAE by its head: "s" is the S-VAE."""
    return "autoencoder" if kind == "ae" else f"{HEADS[kind].short}-VAE"


def vgae(kind: str) -> str:
    """Return the name of a VGAE by its head: "s" is the S-VGAE, "s-plain" the one without a scale of its logits."""
    head = HEADS[kind.removesuffix(PLAIN)].short
    return f"{head}-VGAE" + (", bare inner product" if kind.endswith(PLAIN) else "")


def heads_of(pair: str) -> tuple[str, str]:
    """Return the heads of z1 and of z2 in an M1+M2: "sn" is "s" and "n", "ps+n" is "ps" and "n".

    Raises:
        ValueError: these are not two letters of `HEADS`.
    """
    letters = pair.split("+") if "+" in pair else list(pair)
    if len(letters) != 2 or not set(letters) <= HEADS.keys():
        known = ", ".join(map(repr, HEADS))
        raise ValueError(f"a pair must be two letters of {known}, for z1 and for z2, as sn or ps+n; got {pair!r}")
    return letters[0], letters[1]


def pair_of(first: str, second: str) -> str:
    """Return how the pair of two heads is written in a record: "sn", but "ps+n" where a letter has two signs."""
    return f"{first}{second}" if len(first) == len(second) == 1 else f"{first}+{second}"


def pair(kinds: str) -> str:
    """Return the name of an M1+M2 by the heads of z1 and z2: "sn" is the S+N."""
    return "+".join(HEADS[kind].short for kind in heads_of(kinds))


def space_of(text: str) -> tuple[str, tuple[int, ...]]:
    """Return letter and dimensions of a product of spaces: "s5,5" is S^5 x S^5, "n12" is R^12.

    Raises:
        ValueError: it is not a letter of `HEADS` and one dimension or more, each at least 1.
    """
    kind = text.rstrip("0123456789,")
    dimensions = text.removeprefix(kind).split(",")
    if kind not in HEADS or not all(d.isdecimal() and 0 < int(d) <= LARGEST_DIMENSION for d in dimensions):
        known = ", ".join(map(repr, HEADS))
        raise ValueError(
            f"a space must be one of {known} and the dimensions of its factors, 1 to {LARGEST_DIMENSION}, as s11 or "
            f"s5,5; got {text!r}"
        )
    return kind, tuple(map(int, dimensions))


def space(kind: str, d: Sequence[int]) -> str:
    """Return what tables call a product of spaces: "S⁵ × S⁵"."""
    digits = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    factors = " × ".join(("S" if HEADS[kind].spherical else "R") + str(n).translate(digits) for n in d)
    return factors if kind in "ns" else f"{factors}, {HEADS[kind].law}"


def coordinates(kind: str, d: Sequence[int]) -> int:
    """Return the number of coordinates of a product of spaces."""
    return sum(d) + (len(d) if HEADS[kind].spherical else 0)


def sampler(kind: str) -> str:
    """Return what tables call an S-VAE's sampler: "s" is the exact one."""
    return SAMPLERS[kind]


def rank(model: str) -> tuple[int, ...]:
    """Return a key that sorts models, or pairs of heads, as the rows of a table: N+N, S+S, ..., S+N, ..., N+S, ..."""
    single = [*dict.fromkeys(["ae", *HEADS, *SAMPLERS, *(head + PLAIN for head in HEADS)])]
    if model in single:
        return (single.index(model),)
    first, second = (single.index(letter) for letter in heads_of(model))
    return (len(single), first != second, second, first)
