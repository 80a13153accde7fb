"""The fixed words of a study's report: captions, notes and the names of scores and settings."""

CAPTIONS = {
    "candidates": "Below zero: how far a candidate’s mean log-likelihood of a validation date is "
    "behind the best, with one standard error of the difference, paired by date. The full dot was "
    "chosen.",
    "n_factors": "What members with so many factors at the chosen β gain, on the validation dates, "
    "over members without any, with 95 % intervals; an open dot is of members that use none of "
    "theirs.",
    "comparison": "Each row sets the VAE against one classical model on the same test dates: right "
    "of zero the VAE is likelier. Full dots are the ensemble, with its interval over dates (thick) "
    "and its widest (thin): where that crosses zero, neither is shown to be better. Open dots are "
    "the likeliest seed, over dates.",
    "score_over_beta": "A dot is a member, the band spans the seeds; members saw training dates "
    "alone. The diamond is the mean of the seeds at the chosen β after training on all dates "
    "before the test part, as the classical models (dashed) were: compare these two.",
    "stability": "How well a member’s factor correlates with the consensus of all other members, "
    "averaged over the seeds of each β: 1 is found every time, near 0 is noise.",
    "agreement": "Each cell compares two members, factors matched one-to-one: 1 where they use the "
    "same factors. Dark blocks on the diagonal mean that seeds agree at one β, dark off the "
    "diagonal that β hardly matters.",
    "factor_correlation": "Rows are learned factors, columns known ones; frames mark the "
    "one-to-one match, chosen before the test dates. One strong cell a row and column is what one "
    "hopes for; its sign is a convention.",
    "matched_factors": "Known factor in grey, its match in blue, both standardised over the test "
    "dates and each with its own sign: where r is negative, blue mirrors grey.",
    "factor_series": "The consensus factors over time, in standard deviations of the dates they "
    "were fitted on; dotted lines mark where validation and test begin.",
    "loadings": "Each column is a factor, each row an asset: blue moves with the factor, red "
    "against it; every map has its own scale, centred on zero. Known factors stand in the order of "
    "those they are matched with, with their own signs.",
    "decoder_loadings": "The factors of the likeliest seed, named after the consensus factors they "
    "match: left what one unit of each decodes to (offset included), right the decoder’s mean "
    "slope; they differ where it bends.",
    "kl_parts": "Left: the mean KL on the dates before the test part, taken apart: what a date’s "
    "factors tell of which date it is (at most the logarithm of the number of dates), dependence "
    "between factors, and how far each is from the prior. With few dates even independent factors "
    "show dependence: compare with the same factors shifted in time. Right: factors in use.",
    "explained_variance": "Bars are single principal components, the line their sum; the dotted "
    "line marks the number of factors in this study.",
    "training_curves": "Lines are medians over seeds, bands their range, darker for larger β; the "
    "first epochs run off the scale, and a member that stopped early keeps its last value.",
    "reconstruction": "Returns of a few assets on the first test dates in grey, what is left of "
    "them after passing through the factors: VAE in blue, PCA in orange.",
    "generated": "Scenarios drawn from the ensemble, noise included, beside the data it was "
    "fitted on. The log scale shows the tails; points on the dashed line are pairs of assets whose "
    "correlation is right.",
}
PERSISTENCE_NOTE = (
    "φ is how much of a factor’s value the next date inherits: 0 is no memory, 1 never forgets; a "
    "mean over the members at the chosen β."
)
ONE_STEP_AHEAD = (
    "A VAE’s is of each date given all dates before it, one step ahead; the classical models take "
    "dates as independent. All are exact. Factors and R² also use the dates that follow, within "
    "the test part: likelihoods are forecasts, R² is not."
)
MISSING_NOTE = (
    "Likelihoods and R² are of the cells observed: a date with fewer of them counts less, and a "
    "figure per cell stands beside the one per date."
)
KNOWN_NOTE = (
    "On test dates; which factor is matched with which is learned before them. By chance: the 95th "
    "percentile over known factors shifted in time, the largest of the models’. By rotation: the "
    "95th percentile of what the known factors score when turned at random; “unmoved” where a "
    "rotation changes nothing. A score is evidence where it exceeds both. DCI disentanglement and "
    "completeness ask only how sharply importance is spread, so factors that explain almost "
    "nothing may reach 1: read them beside informativeness."
)
LOSS_NOTE = (
    "A linear VAE keeps a factor where its variance exceeds β times its noise: signal-to-noise "
    "above β, from the spectrum of the training dates and the noise that is learned at that β; "
    "factors are ranked by it. A member carries a factor where its own factors in use explain half "
    "of its variance."
)
MEMBER_NOTE = (
    "On validation, trained on the training dates alone; all of them are in members.csv. "
    "Log-likelihoods and KL are in nats per date; βσ² stands beside β because the two confound: "
    "noise and β trade off."
)
MEDIAN = (
    "the median of the seven classical estimators, hence the largest number that most of them "
    "reach. It would be 0 if parallel analysis found none, or if no number of factors beat none on "
    "the validation dates beyond its error"
)
RANKING_NOTE = "Ways to rank members without knowing the truth; rank correlations are Spearman’s."

# By metric: scores against known factors, 1 is best but for the last, in nats.
FACTOR_SCORES = {
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
CLASSICAL = {
    "parallel_analysis": ("Parallel analysis", "eigenvalues above those of permuted returns"),
    "edge_distribution": ("Onatski ED", "gaps between eigenvalues wider than noise leaves"),
    "bai_ng_ic1": ("Bai–Ng IC1", "variance explained against a penalty"),
    "bai_ng_ic2": ("Bai–Ng IC2", "the same, the heaviest penalty"),
    "bai_ng_ic3": ("Bai–Ng IC3", "the same, the lightest penalty"),
    "eigenvalue_ratio": ("Ahn–Horenstein ER", "the largest ratio of eigenvalues in a row"),
    "growth_ratio": ("Ahn–Horenstein GR", "the same, of growth in what remains"),
}
NUMBER_ESTIMATORS = {
    "verdict": ("Verdict", "what the estimators add up to"),
    "held_out": ("VAE ensemble", "factors in use where validation likelihood is highest"),
    **CLASSICAL,
}
CRITERIA = {
    "log_likelihood_validation": "Validation log-likelihood",
    "udr": "UDR: agreement with the other seeds, axis by axis",
}
MEMBER_COLUMNS = {
    "member": ("Member", 0),
    "seed": ("Seed", 0),
    "beta": ("β", 3),
    "best_epoch": ("Best epoch", 0),
    "log_likelihood_validation": ("Validation log-likelihood", 2),
    "log_likelihood_test": ("Test log-likelihood", 2),
    "r2_test": ("Test R²", 3),
    "kl": ("KL", 2),
    "active_units": ("Active factors", 0),
    "beta_noise": ("βσ²", 3),
    "udr": ("UDR", 2),
    "mcc_test": ("Matched |corr.|", 2),
}
MOMENT_NAMES = {
    "mean": "Mean",
    "std": "Standard deviation",
    "min": "Minimum",
    "max": "Maximum",
    "skewness": "Skewness",
    "excess_kurtosis": "Excess kurtosis",
}
SETTING_NAMES = {
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
