"""A small world of word problems in GSM8K's format, for an experiment that fits into three minutes.

skills    what a problem can ask, its wordings and its calculation
flaws     how a reference answer goes wrong
problems  the pool (long-tailed, partly flawed) and the test set (clean, uniform over skills)
corpus    pre-training text that knows the words and the arithmetic, never a story with its worked answer
"""

from gip_exp.data.arithmetic.corpus import make_corpus
from gip_exp.data.arithmetic.problems import Problem, make_pool, make_test

__all__ = ["Problem", "make_corpus", "make_pool", "make_test"]
