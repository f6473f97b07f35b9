"""Generated word problems in GSM8K's format, for an experiment of a few minutes.

skills    kinds of problems: wordings and calculations
flaws     kinds of wrong reference answers
problems  the pool (long-tailed, partly flawed) and the test set (clean, uniform over skills)
corpus    pre-training text with the words and the arithmetic, but without worked answers to stories
"""

from gip_exp.data.arithmetic.corpus import make_corpus, taught
from gip_exp.data.arithmetic.problems import Problem, make_pool, make_test

__all__ = ["Problem", "make_corpus", "make_pool", "make_test", "taught"]
