"""The numbers that the paper reports, with their source: the one place where they are written down.

Davidson, Falorsi, De Cao, Kipf and Tomczak (2018), "Hyperspherical Variational Auto-Encoders", 34th Conference on
Uncertainty in Artificial Intelligence, arXiv:1804.00891. `"n"` is the paper's N-VAE, `"s"` its S-VAE, and `d` the
dimension of the latent space: of the plane R^d or of the sphere S^d.
"""

# Data set of the paper's Tables 1 and 2: figures are set beside ours only on this one.
DATA = "mnist"

# Table 1, unsupervised, mean and standard deviation over 10 runs, in nats.
# (d, model): (LL, ELBO, RE, KL), each (mean, standard deviation).
_TABLE1 = {
    (2, "n"): ((-135.73, 0.83), (-137.08, 0.83), (-129.84, 0.91), (7.24, 0.11)),
    (2, "s"): ((-132.50, 0.73), (-133.72, 0.85), (-126.43, 0.91), (7.28, 0.14)),
    (5, "n"): ((-110.21, 0.21), (-112.98, 0.21), (-100.16, 0.22), (12.82, 0.11)),
    (5, "s"): ((-108.43, 0.09), (-111.19, 0.08), (-97.84, 0.13), (13.35, 0.06)),
    (10, "n"): ((-93.84, 0.30), (-98.36, 0.30), (-78.93, 0.30), (19.44, 0.14)),
    (10, "s"): ((-93.16, 0.31), (-97.70, 0.32), (-77.03, 0.39), (20.67, 0.08)),
    (20, "n"): ((-88.90, 0.26), (-94.79, 0.19), (-71.29, 0.45), (23.50, 0.31)),
    (20, "s"): ((-89.02, 0.31), (-96.15, 0.32), (-67.65, 0.43), (28.50, 0.22)),
    (40, "n"): ((-88.93, 0.30), (-94.91, 0.18), (-71.14, 0.56), (23.77, 0.49)),
    (40, "s"): ((-90.87, 0.34), (-101.26, 0.33), (-67.75, 0.70), (33.50, 0.45)),
}
TABLE1 = {
    cell: dict(zip(("log_likelihood", "elbo", "reconstruction", "kl"), values, strict=True))
    for cell, values in _TABLE1.items()
}

# Table 2, k-NN accuracy in % with 100, 600 and 1000 labels, mean over 20 runs (no deviation is given).
_TABLE2 = {
    (2, "n"): (72.6, 80.8, 81.7),
    (2, "s"): (77.9, 84.9, 85.6),
    (5, "n"): (81.8, 90.9, 92.0),
    (5, "s"): (87.5, 92.8, 93.4),
    (10, "n"): (75.7, 88.4, 90.2),
    (10, "s"): (80.6, 91.2, 92.8),
    (20, "n"): (71.3, 88.3, 90.1),
    (20, "s"): (72.8, 89.1, 91.1),
    (40, "n"): (72.3, 88.0, 90.3),
    (40, "s"): (67.7, 87.4, 90.4),
}
TABLE2 = {cell: dict(zip((100, 600, 1000), values, strict=True)) for cell, values in _TABLE2.items()}
