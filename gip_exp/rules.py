"""The rule judge: attributes of a prompt and its completion by fixed rules, no model and no label.

`score` returns one column per attribute, every value in [0, 1], positive = good. An example's scores depend on
that example alone. A completion is what is judged, so nothing here knows which answers are right: a wrong
operation, cleanly carried out, looks as good as the right one.

Rubric `math` (answers in GSM8K's format; a *mark* is `<<expression=result>>`):
  final_line  1 when the last line is `#### number` after some reasoning; 0.5 when such a line stands elsewhere
              or alone; else 0
  marks_right share of the marks whose expression gives the result they claim (to the digits shown); 0 without marks
  form        mean of two shares: reasoning lines that hold a mark; marks written out, that is, preceded by their
              expression and followed by their result
  conclusion  1 when the final number is the last mark's result, 0.5 when it is another mark's, else 0
  grounded    share of the marks' operands that the question gives (in digits, words, or by meaning: half, dozen,
              week, ...) or that an earlier mark gave
  coverage    share of the question's numbers that some mark uses
  steps       log(1 + marks) / log(1 + 8), at most 1
  density     three times marks over the numbers written outside marks, at most 1: how much of the arithmetic that
              is written down is also marked
  length_fit  exp(-(ln(w / q) / ln 3)^2 / 2), w and q the words of the reasoning and of the question

Rubric `instruction` (instruction and reply in prose):
  complete     1 when the reply ends like a finished text, 0.5 when it ends in a word or number, else 0
  length_fit   exp(-(ln(w / 60) / 1.5)^2 / 2), w the words of the reply
  distinct     share of the reply's three-word sequences that are not repeats (words, when it is shorter)
  on_topic     share of the instruction's content words (over three letters) that the reply takes up, by their
              first five letters
  format       1 minus a third for each of: leftover markup or placeholders; no capital, digit or sign to start with;
              a list asked for and none given
"""
