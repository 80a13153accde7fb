"""The fixed words of a study's report: captions, notes and the names of scores and settings."""

from jaxvae.analysis.matching import MOST_COMPARED

CAPTIONS = {
    "candidates": "Below zero: how far a candidate’s mean log-likelihood of a validation date is "
    "behind the best, with one standard error of the difference, paired by date. The full dot was "
    "chosen.",
    "n_factors": "Left: what members with so many factors at the chosen β gain on the validation "
    "dates over members without any, with 95 % intervals; an open dot is of members that use none "
    "of theirs. Right: bars are single principal components, the line their sum; the dotted line "
    "marks the number of factors in this study.",
    "comparison": "Each row sets the VAE against one classical model on the same test dates: right "
    "of zero the VAE is likelier. Full dots are the ensemble, with its interval over dates (thick) "
    "and its widest (thin): where that crosses zero, neither is shown to be better. Open dots are "
    "the likeliest seed, over dates.",
    "score_over_beta": "A dot is a member, the band spans the seeds; members saw training dates "
    "alone. The diamond is the mean of the seeds at the chosen β after training on all dates "
    "before the test part, as the classical models (dashed) were: compare these two.",
    "agreement": "Each cell compares two members, factors matched one-to-one: 1 where they use the "
    "same factors. Strong blocks on the diagonal mean that seeds agree at one β, strong ones off "
    "it that β hardly matters. Strips are seeds that found other factors. The numbers are the "
    "array “agreement” in the folder’s arrays.safetensors, members that did not diverge in the "
    f"order of members.csv; of more than {MOST_COMPARED:,} so many, at even steps.",
    "matched_factors": "Top: rows are learned factors, columns known ones; frames mark the "
    "one-to-one match, chosen before the test dates. Below: each known factor (thick) and its "
    "match (thin), standardised over the test dates and each with its own sign: where r is "
    "negative, one mirrors the other.",
    "factor_series": "Left: each factor in standard deviations of the dates it was fitted on; long "
    "panels as means of short pieces, with a band from the least to the most of each. Right: its "
    "running sum, in which slow moves show. Dotted lines mark where validation and test begin.",
    "loadings": "Each column is a factor, each row an asset: blue moves with the factor, red "
    "against it, all maps on one scale. Known factors stand in the order of those they are matched "
    "with, with their own signs. The last map is what the likeliest seed decodes one unit of each "
    "of its factors to, offset included, as in the notebook.",
    "training_curves": "Lines are medians over seeds, bands their range, stronger for larger β; "
    "the first epochs run off the scale, and a member that stopped early keeps its last value.",
    "reconstruction": "Top: returns of a few assets on the first test dates (thick), and what is "
    "left of them after passing through the factors. Below: correlations of all pairs of assets "
    "on the test dates, of returns and of what the ensemble’s factors leave; ideally the latter "
    "stand at zero.",
    "generated": "Scenarios drawn from the ensemble, noise included, beside the data it was "
    "fitted on. The log scale shows the tails; points on the dashed line are pairs of assets whose "
    "correlation is right.",
    "risk": "A large dot is a breach: a return below the value at risk that was forecast from the "
    "dates before. A model without a memory forecasts every date alike.",
}
AHEAD = (
    " Below: the volatility forecast for each test date, and quantiles of the return summed over "
    "the dates after the panel’s last."
)
TERMS = {
    "nat": "The unit of log-likelihoods. A model that is ahead by one nat per date holds a date’s "
    "returns e = 2.7 times as likely.",
    "member": "One VAE of the ensemble: one seed at one β.",
    "β": "The weight of the KL term in training. Above 1 a VAE pays more for what its factors "
    "carry, and keeps fewer; at 1 it is trained on a bound on the log-likelihood.",
    "KL": "What a date’s factors carry, in nats: the divergence of what a VAE thinks of them "
    "once it sees the returns from what it thought before.",
    "consensus": "The factors that members have in common: matched one-to-one, turned to one sign, "
    "averaged.",
    "stability": "How well a member’s factor correlates with the consensus of all other members, "
    "averaged over seeds: 1 is found every time, near 0 is noise.",
    "chance": "What factors shifted in time would score (95th percentile).",
    "rotation null": "What the right factors would score if turned at random (95th percentile). "
    "Above it the axes are right, not only the space that they span.",
    "value at risk": "At 5 %: the return that a date falls below with probability 5 %.",
    "specific": "What of a return belongs to the asset alone, in no factor.",
}
KL_PARTS = {
    "kl": "Mean KL",
    "index_code_information": "Information on the date",
    "total_correlation": "Total correlation",
    "total_correlation_chance_mean": "… of shifted factors",
    "dimension_kl": "Dimension-wise KL",
    "active_units": "Factors in use",
}
STABILITY_NOTE = (
    "Averaged over the seeds of each β, of the factors shown: a factor that other β find as well "
    "does not hang on the choice of β."
)
KL_NOTE = (
    "Nats per date before the test part, medians over seeds: what a date’s factors tell of which "
    "date it is (at most the logarithm of the number of dates), dependence between factors, and "
    "how far each is from the prior. With few dates even independent factors show dependence: "
    "compare with the same factors shifted in time."
)
PORTFOLIO_NOTE = (
    "Each portfolio moves with its own factor and with no other, and of all that do it has the "
    "least specific variance: weights Ψ⁻¹W(WᵀΨ⁻¹W)⁻¹ of the loadings W and the specific variances "
    "Ψ, scaled so that long and short positions are 100 % together. It earns the column “% per "
    "s.d.” where its factor moves by one standard deviation; “Specific” is the share of its "
    "variance that is not the factor’s."
)
SHARE_NOTE = (
    "Of the fitted covariance. What correlated factors have in common is shared out by Euler’s "
    "rule, so that a hedge counts as negative; the rest are curves and differences between seeds."
)
ASSET_NOTE = (
    "Returns on all dates; R² on the test dates, from the ensemble’s reconstruction. Volatility is "
    "a date’s under the fitted covariance; “Specific” is the part of it that no factor moves. The "
    "portfolio of equal weights stands first, of dates on which every asset is known."
)
BREACH_NOTE = (
    "On the test dates, of the portfolio of equal weights. p: of Kupiec’s test of the rate, of "
    "Christoffersen’s test for clusters, and of both. Kept: not rejected at 5 % by both together. "
    "Filtered historical simulation takes the volatility from the model and the tails from the "
    "portfolio’s own past, of which it needs 250 dates before the test part."
)
# Whether a likelihood identifies the factors' axes, by `Preset.axes`; "" of a caller's own model.
AXES = {
    "": "",
    "free": "A perceptron undoes any rotation of the factors, so the likelihood leaves their axes "
    "free; independent posteriors favour some.",
    "convention": "The likelihood is the same in any other axes of the factors’ space; these are a "
    "convention, principal axes.",
    "volatility": "The likelihood identifies the factor of volatility, and is the same in any "
    "other axes of the others’ space; theirs are a convention, principal axes.",
    "curves": "Each curve bends along its own factor, which fixes the axes; where curves are "
    "nearly straight, little does.",
    "conditions": "Variances that move differently with what is known of a date fix the axes; "
    "factors whose variances move alike have none of their own.",
    "memory": "Factors that remember differently are told apart by it; those that remember alike "
    "have no axes of their own.",
    "variances": "Factors whose variances move apart are told apart by it; those whose variances "
    "move together have no axes of their own.",
}
BY_CONVENTION = ("convention", "volatility")
COVARIANCE = "covariance"
MOST_COVARIANCE_ASSETS = 1000  # in a file of text
WIDE_NOTE = (
    "Of so many assets loadings.csv and the specific risk in assets.csv stand for the covariance; "
    "whole it is among the arrays of arrays.safetensors, by the name “covariance”."
)
FILES_NOTE = "They stand beside this page in its folder. Returns are fractions: 0.01 is 1 %."
TABLES = {
    "factors": ("a date", "standard deviations of the dates before the test part"),
    "loadings": ("an asset", "returns per standard deviation of a factor"),
    "portfolios": ("an asset", "shares of what is held, long and short together 1"),
    "assets": ("an asset", "returns; shares of variance"),
    "exposures": ("a sector", "returns per standard deviation of a factor"),
    "pairs": ("a pair of assets", "correlations"),
    "covariance": ("an asset", "returns squared"),
    "risk": ("a test date", "returns"),
    "comparisons": ("a model beside a baseline", "nats per date"),
    "metrics": ("a score of a model on a split", "nats per date; shares; correlations"),
    "members": ("a member", "nats per date; shares; correlations"),
    "history": ("an epoch of a member", "losses: nats per date"),
    "n_factors": ("an estimator, or a number of factors", "factors; nats per date"),
    "rankings": ("a way to rank members", "correlations"),
    "stability": ("a β", "correlations"),
    "spectrum": ("a factor at a β", "signal-to-noise; shares of members"),
    "candidates": ("a model with a number of factors", "nats per date"),
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
