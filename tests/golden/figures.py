"""What scikit-learn 1.9.1 makes of scores, probabilities, logits and made-up embeddings.

In:   nothing
Out:  tests/golden/statistics.json    inputs, or the formula's arguments for them, and what scikit-learn answers
Never: reads anything that Rust wrote.

Embeddings are made, not stored: number c of seed s is SplitMix64's, as a share of 1 (`share`), and `embeddings` has the
rule. Only sums, products, quotients and one square root go into it, in one order, so that both sides have the same bits.

    python -m pip install --no-deps -r tests/golden/requirements-statistics.txt
    python tests/golden/figures.py
"""

import json
import warnings
from pathlib import Path

import numpy as np
import sklearn
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.calibration import _SigmoidCalibration, calibration_curve
from sklearn.exceptions import ConvergenceWarning
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score, roc_curve

HERE = Path(__file__).resolve().parent
MASK = (1 << 64) - 1

# Fits are those of scikit-learn's Newton solver, since its L-BFGS ends far from the least where features say nearly the same.
# How far a fit is from the least is bounded by the gradient (the penalty alone curves the objective by 1): this share of its
# length at most. L-BFGS at tol=1e-8, where it converges at all, must come about as near as the Rust tests allow.
GRADIENT = 1e-6
SOLVERS_AGREE = 5e-4
FPRS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0)

# name, rows, decimals that scores keep (fewer make more ties), share of fakes, how far fakes score higher
RANKED = (
    ("few", 12, 1, 0.5, 0.3),
    ("many ties", 120, 1, 0.5, 0.2),
    ("no ties", 150, 6, 0.4, 0.1),
    ("few fakes", 200, 2, 0.04, 0.3),
    ("few real ones", 200, 2, 0.95, 0.2),
    ("one fake", 60, 2, 0.0, 0.2),
    ("reversed", 80, 2, 0.5, -0.5),
    ("constant", 10, 0, 0.5, 0.0),
    ("nearly apart", 100, 3, 0.5, 0.85),
)
# name, rows, share of fakes, kind, class_weight, C
FITTED = (
    ("unit", 400, 0.5, "unit", None, (1e-3, 1.0, 1e2, 1e4)),
    ("unit, balanced", 500, 0.15, "unit", "balanced", (1e-2, 1.0, 1e3)),
    ("unit, few fakes", 500, 0.06, "unit", None, (1.0, 1e2)),
    ("correlated", 600, 0.4, "correlated", None, (1e-3, 1e-1, 1.0, 1e2, 1e4)),
    ("correlated, balanced", 700, 0.1, "correlated", "balanced", (1e-2, 1.0, 1e4)),
    ("more features than rows", 24, 0.5, "unit", None, (1.0, 1e2, 1e4)),
    ("weights by row", 300, 0.4, "correlated", "rows", (1e-1, 1e1)),
)
WIDTH = 32
RESAMPLES = 200


def bits(seed, counter):
    """SplitMix64: number `counter` of the sequence that starts at `seed`."""
    z = (seed + (counter + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def share(seed, counter):
    return (bits(seed, counter) >> 11) * 2.0**-53


def bell(seed, counter):
    """Four shares, less their mean: nearly normal, with deviation 0.58."""
    return share(seed, 4 * counter) + share(seed, 4 * counter + 1) + share(seed, 4 * counter + 2) + share(seed, 4 * counter + 3) - 2.0


def embeddings(seed, rows, fake_share, kind):
    """x [rows, WIDTH] as f32, and which are fake: share(seed + 1, row) < fake_share.

    unit:        bell + 1 for every fourth feature (all rows lie on one side, as CLIP's do) + 0.2 for fakes, to unit length
    correlated:  (0.4 · bell + one bell for the row + (0.3 for fakes in even features)) · (1, 0.1 or 4), + feature % 7
    """
    x, fake = np.zeros((rows, WIDTH), np.float32), np.zeros(rows, bool)
    for row in range(rows):
        fake[row] = share(seed + 1, row) < fake_share
        noise = [bell(seed, row * WIDTH + at) for at in range(WIDTH)]
        if kind == "unit":
            values = [v + (1.0 if at % 4 == 0 else 0.0) + (0.2 if fake[row] else 0.0) for at, v in enumerate(noise)]
            squares = 0.0
            for v in values:
                squares += v * v
            length = float(np.sqrt(squares))
            x[row] = [v / length for v in values]
        else:
            common = bell(seed + 2, row)
            x[row] = [
                (0.4 * v + common + (0.3 if fake[row] and at % 2 == 0 else 0.0)) * (1.0, 0.1, 4.0)[at % 3] + float(at % 7)
                for at, v in enumerate(noise)
            ]
    return x, fake


def equal_error_rate(fake, scores, weights=None):
    fpr, tpr, _ = roc_curve(fake, scores, sample_weight=weights, drop_intermediate=False)
    # Along the curve by its length in points, since fpr and tpr both may stand still.
    at = np.arange(len(fpr))
    gap = lambda t: np.interp(t, at, fpr) + np.interp(t, at, tpr) - 1.0
    return float(np.interp(brentq(gap, 0, len(fpr) - 1, xtol=1e-14, rtol=1e-14), at, fpr))


def threshold(fake, scores, wanted):
    """By trying every score, as the sentence says it: no curve that could share a mistake."""
    real = scores[~fake]
    allowed = [t for t in np.unique(scores) if np.mean(real >= t) <= wanted]
    return float(min(allowed)) if allowed else None


def ranked(number, name, rows, decimals, fake_share, shift):
    draw = np.random.default_rng(number)
    fake = draw.random(rows) < fake_share
    fake[:2] = [False, True]
    scores = np.round(np.clip(draw.normal(0.5 - shift / 2, 0.2, rows) + shift * fake, 0, 1), decimals)
    if name == "constant":
        scores[:] = 0.5
    counts = draw.integers(0, 4, rows)
    counts[:2] = [1, 2]
    fpr, tpr, _ = roc_curve(fake, scores, drop_intermediate=False)
    at_fpr = [{"fpr": f, "tpr": float(tpr[fpr <= f].max()), "threshold": threshold(fake, scores, f)} for f in FPRS]
    figures = lambda weights: {
        "auc": float(roc_auc_score(fake, scores, sample_weight=weights)),
        "average_precision": float(average_precision_score(fake, scores, sample_weight=weights)),
        "equal_error_rate": equal_error_rate(fake, scores, weights),
    }
    return {
        "name": name, "scores": scores.tolist(), "fake": fake.astype(int).tolist(), "counts": counts.tolist(),
        "once": figures(None), "counted": figures(counts), "at_fpr": at_fpr,
    }  # fmt: skip


def bootstrapped(number, rows, n_groups):
    seed = 900 + number
    draw = np.random.default_rng(seed)
    groups = draw.integers(0, n_groups, rows)
    groups[:n_groups] = np.arange(n_groups)
    fake = groups % 3 == 0
    scores = np.round(draw.normal(0.4, 0.2, rows) + 0.15 * fake, 2)
    aucs = []
    for resample in range(RESAMPLES):
        of_group = np.zeros(n_groups, int)
        for one in range(n_groups):
            of_group[(bits(seed, resample * n_groups + one) * n_groups) >> 64] += 1
        counts = of_group[groups]
        if counts[fake].sum() > 0 and counts[~fake].sum() > 0:
            aucs.append(roc_auc_score(fake, scores, sample_weight=counts))
    low, high = np.percentile(aucs, [2.5, 97.5])
    return {
        "seed": seed, "resamples": RESAMPLES, "groups": groups.tolist(), "scores": scores.tolist(),
        "fake": fake.astype(int).tolist(), "low": low, "high": high, "found": len(aucs),
    }  # fmt: skip


def calibrated(number, rows, decimals, fake_share, factor, offset):
    draw = np.random.default_rng(100 + number)
    fake = draw.random(rows) < fake_share
    fake[:2] = [False, True]
    logits = np.round(draw.normal(0, 1.5, rows) * factor + (fake * 2.0 - 1.0) * factor + offset, decimals)
    probabilities = np.round(1 / (1 + np.exp(-np.clip(logits, -40, 40))), 3)
    sigmoid = _SigmoidCalibration().fit(logits, fake)
    isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(logits, fake)
    places = np.concatenate([np.linspace(logits.min() - 1, logits.max() + 1, 40), logits[:10]])
    reliability = []
    for bins in (4, 10, 15):
        shares, means = calibration_curve(fake, probabilities, n_bins=bins)
        edges = np.linspace(0, 1, bins + 1)
        counts = np.bincount(np.searchsorted(edges[1:-1], probabilities), minlength=bins)
        filled = counts[counts > 0]
        ece = float(np.sum(filled * np.abs(shares - means)) / rows)
        reliability.append({"bins": bins, "counts": counts.tolist(), "shares": shares.tolist(), "means": means.tolist(), "ece": ece})
    return {
        "logits": logits.tolist(), "fake": fake.astype(int).tolist(), "slope": -float(sigmoid.a_), "offset": -float(sigmoid.b_),
        "knots": [list(knot) for knot in zip(isotonic.X_thresholds_.tolist(), isotonic.y_thresholds_.tolist())],
        "places": places.tolist(), "isotonic": isotonic.predict(places).tolist(), "platt": sigmoid.predict(places).tolist(),
        "probabilities": probabilities.tolist(), "log_loss": float(log_loss(fake, probabilities)),
        "brier": float(brier_score_loss(fake, probabilities)), "reliability": reliability,
    }  # fmt: skip


def fitted(number, name, rows, fake_share, kind, class_weight, cs):
    seed = 5000 + 10 * number
    x, fake = embeddings(seed, rows, fake_share, kind)
    weights = np.array([share(seed + 3, row) * 3.0 for row in range(rows)]) if class_weight == "rows" else None
    by_class = "balanced" if class_weight == "balanced" else None
    wide = x.astype(np.float64)
    of_class = rows / 2 / np.array([(~fake).sum(), fake.sum()])
    of_row = of_class[fake.astype(int)] if by_class else np.ones(rows) if weights is None else weights
    fits = []
    for c in cs:

        def coefficients(solver, tol):
            model = LogisticRegression(C=c, class_weight=by_class, solver=solver, tol=tol, max_iter=10_000)
            with warnings.catch_warnings():
                warnings.simplefilter("error", ConvergenceWarning)
                model.fit(wide, fake, sample_weight=weights)
            return np.concatenate([model.coef_[0], model.intercept_])

        found = coefficients("newton-cholesky", 1e-10)
        slopes = of_row * (expit(wide @ found[:-1] + found[-1]) - fake)
        gradient = np.concatenate([found[:-1] + c * wide.T @ slopes, [c * slopes.sum()]])
        left = float(np.linalg.norm(gradient) / max(1, np.linalg.norm(found[:-1])))
        assert left <= GRADIENT, (name, c, left)
        try:
            other = coefficients("lbfgs", 1e-8)
            apart = float(np.max(np.abs(found - other) / np.maximum(1, np.abs(found))))
            assert apart <= SOLVERS_AGREE, (name, c, apart)
        except ConvergenceWarning:
            apart = None
        print(f"{name}, C = {c:g}: {np.linalg.norm(found):.3g} long, gradient {left:.1e}, L-BFGS {apart} apart", flush=True)
        fits.append({"c": c, "weight": found[:-1].tolist(), "bias": float(found[-1]), "lbfgs_apart": apart})
    return {
        "name": name, "seed": seed, "rows": rows, "width": WIDTH, "fake_share": fake_share, "kind": kind,
        "class_weight": class_weight, "fakes": int(fake.sum()), "first": x[0, :4].tolist(), "last": x[-1, -4:].tolist(),
        "row_weights": None if weights is None else weights[:3].tolist(), "fits": fits,
    }  # fmt: skip


def main():
    assert sklearn.__version__ == "1.9.1", sklearn.__version__
    golden = {
        "reference": f"scikit-learn {sklearn.__version__}",
        "ranked": [ranked(number, *case) for number, case in enumerate(RANKED)],
        "bootstrapped": [bootstrapped(0, 150, 40), bootstrapped(1, 30, 4)],
        "calibrated": [
            calibrated(0, 200, 2, 0.5, 1.0, 0.0),
            calibrated(1, 150, 0, 0.5, 1.0, 0.0),  # whole logits: many ties
            calibrated(2, 250, 3, 0.06, 0.5, 1.0),
            calibrated(3, 60, 2, 0.5, 0.02, 0.03),  # between 0 and 0.1, as logits without a scale
            calibrated(4, 80, 1, 0.6, 20.0, -5.0),  # above 30, where scikit-learn scales
            calibrated(5, 12, 2, 0.5, 0.5, 10.0),
        ],
        "fitted": [fitted(number, *case) for number, case in enumerate(FITTED)],
    }
    sections = []
    for name, value in golden.items():
        rows = ",\n    ".join(json.dumps(case) for case in value) if isinstance(value, list) else None
        sections.append(f'  "{name}": ' + (json.dumps(value) if rows is None else f"[\n    {rows}\n  ]"))
    (HERE / "statistics.json").write_text("{\n" + ",\n".join(sections) + "\n}\n")


if __name__ == "__main__":
    main()
