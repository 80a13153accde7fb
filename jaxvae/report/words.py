"""The fixed words of the report: its sections, captions and column titles."""

NUMBERS = "How many factors are there?"
REAL = "Are the factors real?"
TRUST = "Can the models be trusted?"
SECTIONS = {
    NUMBERS: ("n_factors",),
    "Does a VAE find more?": ("comparison", "score_over_beta"),
    REAL: (
        "stability",
        "agreement",
        "factor_correlation",
        "matched_factors",
    ),
    "What are the factors?": ("factor_series", "loadings", "decoder_loadings"),
    "What does β charge for?": ("kl_parts",),
    TRUST: (
        "explained_variance",
        "training_curves",
        "reconstruction",
        "generated",
    ),
}

CAPTIONS = {
    "n_factors": "Left: what members of so many factors, at the chosen β, gain on the validation "
    "dates over members without any; an open dot is of members that use none of them. Right: what "
    "each estimator finds; the classical ones see the dates before the test part.",
    "comparison": "Each row sets the VAE against one classical model, date by date, on the test "
    "part: dots right of zero favour the VAE, and an interval that crosses zero leaves it open.",
    "score_over_beta": "A dot is a member, the band spans all seeds; members saw the training "
    "dates only, while the best classical model (dashed) was fitted on training and validation "
    "dates.",
    "stability": "How well a member’s factor correlates with the consensus of all the other "
    "members, averaged over the seeds of each β: 1 is found every time, near 0 is noise.",
    "agreement": "Each cell compares two members, factors matched one-to-one: dark blocks on the "
    "diagonal mean that seeds agree at one β, dark off the diagonal that β hardly matters.",
    "factor_correlation": "Rows are learned factors, columns known ones; frames mark the "
    "one-to-one match, chosen before the test dates, so one strong cell a row and column is what "
    "one hopes for.",
    "matched_factors": "Known factor in grey, its match in blue, both standardised over the test "
    "part and each with its own sign: where r, taken over all test dates, is negative, blue "
    "mirrors grey.",
    "factor_series": "The consensus factors over time, in standard deviations of the dates they "
    "were fitted on; dotted lines mark where training, validation and test begin.",
    "loadings": "Each column is a factor, each row an asset: blue moves with the factor, red "
    "against it; every map has its own scale, centred on zero. Known factors stand in the order of "
    "those they are matched with; their signs are their own.",
    "decoder_loadings": "The factors of the best VAE, named after those they match: left what one "
    "unit of each decodes to (offset included), right the decoder’s mean slope; they differ where "
    "it bends.",
    "kl_parts": "Left: the mean KL on the dates before the test part, taken apart: what a date’s "
    "factors say of which date it is (at most the logarithm of the number of dates), dependence "
    "between factors, and how far each is from the prior. Where dates are few for the precision of "
    "the factors, even independent ones show dependence: read it against that of the same factors "
    "shifted in time. Right: factors in use, beside what the closed form of a linear VAE keeps.",
    "explained_variance": "Bars are single principal components, the line their sum; the dotted "
    "line marks the number of factors in this study.",
    "training_curves": "Lines are medians over seeds, bands their range, darker for larger β; the "
    "first epochs run off the scale, and a member that stopped early keeps its last value.",
    "reconstruction": "Returns of four assets on the first test dates in grey, with what is left "
    "of them after passing through a few factors: VAE in blue, PCA in orange.",
    "generated": "Scenarios drawn from the ensemble, noise included, beside the data they were "
    "fitted on: the log scale shows the tails, and points on the dashed line are pairs of assets "
    "whose correlation is right.",
}

SCORE_COLUMNS = {
    "model": "Model",
    "log_likelihood": "Log-likelihood",
    "log_likelihood_per_cell": "Per cell",
    "difference": "Ensemble − model [95 %]",
    "joint": "All at once [95 %]",
    "r2": "R²",
}

# By metric: scores against known factors, 1 is best but for the last, in nats.
KNOWN_SCORES = {
    "mcc": "Matched |correlation|",
    "subspace_r2": "Subspace R²",
    "canonical_correlation": "Canonical correlation",
    "dci_disentanglement": "DCI disentanglement",
    "dci_completeness": "DCI completeness",
    "dci_informativeness": "DCI informativeness",
    "mig": "Mutual information gap",
    "sap": "SAP",
    "modularity": "Modularity",
    "mutual_information": "Mutual information, nats",
}
ALL_EXACT = "All are exact, in closed form."
ONE_STEP_AHEAD = (
    "A VAE’s is of each date given all dates before it, one step ahead, by the Kalman filter; the "
    "others take dates as independent. All are exact. Factors and R² come from the smoother, which "
    "looks at the dates on either side too, though never from the dates before the test part into "
    "it: likelihoods are forecasts, R² is not."
)
PERSISTENCE_NOTE = (
    "φ is how much of a factor’s value the next date inherits: 0 is no memory, 1 never forgets; a "
    "mean over the members at the chosen β."
)
KNOWN_NOTE = (
    "On test dates; what a score learns, such as which factor is matched with which, is learned "
    "before them. By chance: the 95th percentile over known factors shifted in time, the largest "
    "of the models’. By random rotation: that of the known factors turned at random; where it "
    "says “unmoved” the score sees the space and not its axes. A score is evidence where it "
    "exceeds both. DCI disentanglement and completeness ask only how sharply importance is spread, "
    "so factors that explain almost nothing may reach 1: read them beside informativeness."
)

CLASSICAL = {
    "parallel_analysis": ("Parallel analysis", "eigenvalues above those of permuted returns"),
    "edge_distribution": ("Onatski ED", "gaps between eigenvalues wider than noise leaves"),
    "bai_ng_ic1": ("Bai–Ng IC1", "variance explained against a penalty"),
    "bai_ng_ic2": ("Bai–Ng IC2", "the same, the heaviest penalty"),
    "bai_ng_ic3": ("Bai–Ng IC3", "the same, the lightest penalty"),
    "eigenvalue_ratio": ("Ahn–Horenstein ER", "the largest ratio of eigenvalues in a row"),
    "growth_ratio": ("Ahn–Horenstein GR", "the same, of growth in what remains"),
}
ESTIMATORS = {
    "verdict": ("Verdict", "what the estimators add up to"),
    "held_out": (
        "VAE ensemble",
        "the likeliest on validation dates, if ahead of none",
    ),
    **CLASSICAL,
}
LOSSES_NOTE = (
    "A linear VAE keeps a factor where its variance exceeds β times its noise: signal-to-noise "
    "above β, from the spectrum of the training dates and the noise that is learned at that β; "
    "factors are ranked by it. A member carries a factor where its own factors in use explain half "
    "of its variance."
)
CRITERIA = {
    "log_likelihood_validation": "Validation log-likelihood",
    "udr": "UDR: agreement with the other seeds, axis by axis",
}

MOMENTS = {
    "mean": "Mean",
    "std": "Standard deviation",
    "min": "Minimum",
    "max": "Maximum",
    "skewness": "Skewness",
    "excess_kurtosis": "Excess kurtosis",
}

SETTINGS = {
    "preset": "Preset",
    "model": "Model",
    "n_factors": "Factors",
    "covariates": "Covariates",
    "betas": "Betas",
    "seeds": "Seeds",
    "root_seed": "Root seed",
    "epochs": "Epochs, at most",
    "likelihood_samples": "Likelihood samples",
    "tile_width": "Tile width",
    "model_config": "Network",
    "train_config": "Training",
    "device": "Device",
    "versions": "Versions",
    "data_hash": "Data, SHA-256",
}
