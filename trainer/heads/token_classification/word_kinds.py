"""What the column `words` says of each token."""

NO_WORD = 0  # the token goes on with a word, or is none
WORD = 1  # a word begins
FIRST_WORD = 2  # the first of a text
DIRECT_WORD = 3  # no space parts it from the one before, as the S of U.S.
JOINING_MARK = 4  # the same of a mark that joins names: . - ' &
