"""The numbers that the paper reports, with their source: the one place where they are written down.

Davidson, Falorsi, De Cao, Kipf and Tomczak (2018), "Hyperspherical Variational Auto-Encoders", 34th Conference on
Uncertainty in Artificial Intelligence, arXiv:1804.00891. `"n"` is the paper's N-VAE, `"s"` its S-VAE, and `d` the
dimension of the latent space: of the plane R^d or of the sphere S^d.
"""

# Data set of the paper's Tables 1, 2 and 3: figures are set beside ours only on this one.
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

# Table 4, link prediction, AUC and average precision (AP) in %, mean over 10 runs. Those of S-VGAE are confirmed from a
# second source; those of N-VGAE are quoted from memory of the paper: check them there before you build on them.
# (data, model): (AUC, AP).
_TABLE4 = {
    ("cora", "n"): (92.7, 93.2),
    ("cora", "s"): (94.1, 94.1),
    ("citeseer", "n"): (90.3, 91.5),
    ("citeseer", "s"): (94.7, 95.2),
    ("pubmed", "n"): (97.1, 97.1),
    ("pubmed", "s"): (96.0, 96.0),
}
TABLE4 = {cell: dict(zip(("auc", "ap"), values, strict=True)) for cell, values in _TABLE4.items()}

# The same of Kipf and Welling (2016), "Variational Graph Auto-Encoders", arXiv:1611.07308, Table 1: their VGAE, with
# features, mean over 10 runs. It is an N-VGAE.
_KIPF_WELLING = {
    ("cora", "n"): (91.4, 92.6),
    ("citeseer", "n"): (90.8, 92.0),
    ("pubmed", "n"): (94.4, 94.7),
}
KIPF_WELLING = {cell: dict(zip(("auc", "ap"), values, strict=True)) for cell, values in _KIPF_WELLING.items()}

# Table 3, M1+M2 with 100 labels, accuracy in % (no deviation is given): (dimensions of z1 and z2): N+N, S+S, S+N.
_TABLE3 = {
    (5, 5): (90.0, 94.0, 93.8),
    (5, 10): (90.7, 94.1, 94.8),
    (5, 50): (90.7, 92.7, 93.0),
    (10, 5): (90.7, 91.7, 94.0),
    (10, 10): (92.2, 96.0, 95.9),
    (10, 50): (92.9, 95.1, 95.7),
    (50, 5): (92.0, 91.7, 95.8),
    (50, 10): (93.0, 95.8, 97.1),
    (50, 50): (93.2, 94.2, 97.4),
}
TABLE3 = {
    (dimensions, pair): accuracy
    for dimensions, accuracies in _TABLE3.items()
    for pair, accuracy in zip(("nn", "ss", "sn"), accuracies, strict=True)
}
