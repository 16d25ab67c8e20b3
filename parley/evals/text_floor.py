"""The floor that a reward model has to beat: words and word pairs, without any language model.

TF-IDF of the reply's text (the history is the same for both sides of a pair, so it cannot matter to a
linear score) and a logistic regression on the difference of better and worse: the reward model's own
loss, Bradley-Terry, over a linear score. Every ranking weighs the same, as in Eq. 1 (rule R1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from parley.labels import Ranking


class TextFloor:
    """A linear score of texts, fitted to rankings; without strict pairs every text scores 0."""

    def __init__(self, rankings: Sequence[Ranking]) -> None:
        judged = [ranking for ranking in rankings if ranking.comparisons()]
        self._weights = np.zeros(0)
        if not judged:
            return
        self._words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        self._weights = self._fitted(judged)

    def scores(self, rankings: Sequence[Ranking]) -> list[np.ndarray]:
        """One score for every reply of every ranking."""
        if not len(self._weights):
            return [np.zeros(len(ranking.replies)) for ranking in rankings]
        texts = [reply.text for ranking in rankings for reply in ranking.replies]
        flat = np.asarray(self._words.transform(texts) @ self._weights) if texts else np.zeros(0)
        ends = np.cumsum([len(ranking.replies) for ranking in rankings])
        return np.split(flat, ends[:-1]) if len(ends) else []

    def _fitted(self, rankings: Sequence[Ranking]) -> np.ndarray:
        texts = [reply.text for ranking in rankings for reply in ranking.replies]
        rows = self._words.fit_transform(texts)
        better, worse, weights = [], [], []
        start = 0
        for ranking in rankings:
            pairs = ranking.comparisons()
            better += [start + pair.better for pair in pairs]
            worse += [start + pair.worse for pair in pairs]
            weights += [1.0 / len(pairs)] * len(pairs)
            start += len(ranking.replies)
        signs = np.where(np.arange(len(better)) % 2, -1.0, 1.0)  # the solver wants both classes
        differences = (rows[better] - rows[worse]).multiply(signs[:, None]).tocsr()
        solver = LogisticRegression(fit_intercept=False, max_iter=1000)
        solver.fit(differences, signs > 0, sample_weight=np.array(weights))
        return np.asarray(solver.coef_[0], dtype=float)
