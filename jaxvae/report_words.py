"""The fixed words of the report: its sections, captions and column titles."""

SECTIONS = {
    "Does a VAE find more?": ("comparison", "score_over_beta"),
    "Are the factors real?": (
        "stability",
        "agreement",
        "factor_correlation",
        "matched_factors",
    ),
    "What are the factors?": ("factor_series", "loadings", "decoder_loadings"),
    "Can the models be trusted?": (
        "explained_variance",
        "training_curves",
        "reconstruction",
        "generated",
    ),
}

CAPTIONS = {
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
    "part: the closer blue covers grey, the better; r is over all test dates.",
    "factor_series": "The consensus factors over time, in standard deviations of the dates they "
    "were fitted on; dotted lines mark where training, validation and test begin.",
    "loadings": "Each column is a factor, each row an asset: blue moves with the factor, red "
    "against it; every map has its own scale, centred on zero. Matched factors stand in the "
    "order and sign of the known ones.",
    "decoder_loadings": "The latent coordinates of the best member, in its own order: left what "
    "one unit of each decodes to (offset included), right the decoder’s mean slope; they differ "
    "where it bends.",
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
    "difference": "Ensemble − model [95 %]",
    "r2": "R²",
    "mcc": "Matched |corr.|",
    "mcc_chance_95": "by chance (95 %)",
    "mcc_rotation_floor": "by random rotation",
    "subspace_r2": "Subspace R²",
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
