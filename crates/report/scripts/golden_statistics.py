"""Prints the golden numbers of plw-report's and plw-record's statistics tests.

    pip install scipy statsmodels && python golden_statistics.py
"""

import numpy as np
import scipy
from scipy import stats
from statsmodels.stats.multitest import multipletests

print("scipy", scipy.__version__)

print("wilson (crates/record/src/proportion.rs)")
counted = [(0, 1), (0, 10), (1, 10), (5, 10), (10, 10), (81, 263), (359, 1436), (862, 3451)]
for correct, total in counted:
    interval = stats.binomtest(correct, total).proportion_ci(0.95, method="wilson")
    print(f"  ({correct}, {total}, {float(interval.low)!r}, {float(interval.high)!r}),")

print("student")
for values in [[0.61, 0.64, 0.59], [0.5, 0.7], [2.1, 2.3, 2.2, 2.6, 1.9]]:
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    print(f"  ({values}, {float(low)!r}, {float(high)!r}),")
print("  paired p", float(stats.ttest_1samp([0.03, 0.05, 0.01, -0.005], 0).pvalue))

print("bootstrap")
right = np.array([3, 4, 0, 2, 5, 1, 2, 3, 0, 4, 2, 1, 3, 2, 1, 4, 0, 5, 2, 3, 1, 2, 3, 1], float)
asked = np.array([5, 4, 3, 4, 5, 4, 3, 3, 4, 5, 2, 5, 4, 4, 3, 4, 2, 5, 5, 4, 4, 3, 5, 1], float)
result = stats.bootstrap(
    (right, asked),
    lambda s, n, axis: s.sum(axis) / n.sum(axis),
    paired=True,
    vectorized=True,
    n_resamples=1_000_000,
    batch=10_000,
    method="percentile",
    rng=0,
)
print("  ", result.confidence_interval)

print("sign flips")
few = np.array([1, 2, -1, 0, 3, 1, -0.5, 2, 0.5, 1])
many = np.array(
    [1, 2, -1, 0, 3, 1, -2, 2, -1, 1, 0, 1, -1, -2, 2]
    + [1, 1, -1, 0, 1, 2, -3, 1, -1, 2, 0, 1, -1, 1, 1],
    float,
)
for values, resamples in [(few, np.inf), (many, 1_000_000)]:
    test = stats.permutation_test(
        (values,), lambda x, axis: np.sum(x, axis), permutation_type="samples", vectorized=True,
        n_resamples=resamples, batch=10_000, rng=0,
    )
    print("  ", float(test.pvalue))

print("holm", multipletests([0.01, 0.04, 0.03, 0.005, 0.6], method="holm")[1])
