"""The choices on which the paper is silent, made once for all experiments and named wherever a number is shown."""

# ELBO, RE and KL are means over this many passes, each with one latent sample a point.
PASSES = 10

# The authors' public example estimates the log-likelihood with 10 samples: kept beside the experiment's own number.
FEW_SAMPLES = 10

# k-nearest neighbours: how many, how many labelled sets are drawn for each model, and their sizes.
NEIGHBOURS = 5
DRAWS = 20
LABELS = (100, 600, 1000)
# With the first of these sizes the accuracy is also measured for every k up to this one.
MOST_NEIGHBOURS = 15
# And along this many of the first principal axes.
AXES = (2, 5, 10, 20, 30)

# A coordinate is active if its latent mean varies by more than this over the test images (Burda et al. 2016).
ACTIVE = 0.01
