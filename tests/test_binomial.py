import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.binomial import binomial_tail, messages_needed, upper_limit


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.01, 0.99))
def test_the_binomial_tail_is_the_sum_of_its_terms(k, n, p):
    expected = sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(min(k, n) + 1))
    assert binomial_tail(k, n, p) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.integers(0, 40), st.integers(1, 40))
def test_the_upper_limit_is_where_the_tail_reaches_the_risk(k, n):
    k = min(k, n)
    limit = upper_limit(k, n, 0.95)
    assert k / n <= limit <= 1
    if k < n:
        assert binomial_tail(k, n, limit) == pytest.approx(0.05, abs=1e-3)


@pytest.mark.parametrize(("max_wrong", "n"), [(0.02, 149), (0.05, 59), (0.1, 29)])
def test_messages_needed_without_errors_are_the_known_numbers(max_wrong, n):
    assert messages_needed(0, max_wrong, 0.05) == n
