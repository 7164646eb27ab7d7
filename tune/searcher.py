"""Optuna under Ray Tune: where the next point comes from."""

import warnings

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from ray.tune.search.optuna import OptunaSearch

from tune.plots import distributions
from tune.space import Space


def make_searcher(space: Space, kind: str, latency: bool, seed: int) -> OptunaSearch:
    """Draws points of the space, the recipe's own first. With ``latency`` there are two objectives."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return OptunaSearch(
        distributions(space),
        metric=["best_miou", "latency_ms"] if latency else "best_miou",
        mode=["max", "min"] if latency else "max",
        points_to_evaluate=[space.start()],
        sampler=_sampler(kind, seed),
    )


def _sampler(kind: str, seed: int) -> BaseSampler:
    if kind == "random":
        return RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls two of these options experimental
        # Trials run side by side: one that is not done yet counts as bad, and the next looks elsewhere.
        return TPESampler(seed=seed, multivariate=True, constant_liar=True)
