"""What tables, pictures and the command line call models. Every posterior head has one line here."""

HEADS = {"n": "N", "s": "S", "ps": "PS"}  # in the order of the rows; PS: power spherical
SAMPLERS = {"s": "exact", "s-path": "pathwise gradient", "s-clip": "public law and gradient"}  # of S-VAEs, see `foils`
PAIRS = ("nn", "ss", "sn", "ns")  # of M1+M2: the heads of z1 and of z2


def vae(kind: str) -> str:
    """Return the name of a VAE by its head: "s" is the S-VAE."""
    return "autoencoder" if kind == "ae" else f"{HEADS[kind]}-VAE"


def vgae(kind: str) -> str:
    """Return the name of a VGAE by its head: "s" is the S-VGAE."""
    return f"{HEADS[kind]}-VGAE"


def pair(kinds: str) -> str:
    """Return the name of an M1+M2 by the heads of z1 and z2: "sn" is the S+N."""
    return "+".join(HEADS[kind] for kind in kinds)


def sampler(kind: str) -> str:
    """Return what tables call an S-VAE's sampler: "s" is the exact one."""
    return SAMPLERS[kind]


def rank(model: str) -> int:
    """Return where the rows of a model stand in a table, counted from 0."""
    return [*dict.fromkeys(["ae", *HEADS, *SAMPLERS, *PAIRS])].index(model)
