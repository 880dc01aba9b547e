"""Mistakes of the user, as exceptions: one message, no traceback, exit code 2.

Every message says what is wrong, where (file:line or key), the value met, what is allowed and what to do.
"""


class UserError(Exception):
    """A mistake in flags, config, data, weights or the job_dir."""


class ConfigError(UserError):
    """The config or a flag is wrong; lists every problem found."""


class DataError(UserError):
    """The data cannot be read or does not fit the config; names file:line."""


class WeightsError(UserError):
    """A checkpoint folder is missing, incomplete, damaged or of another architecture."""


class JobDirError(UserError):
    """The job_dir cannot be written, or belongs to another config."""


class TrainingError(UserError):
    """Training cannot go on, such as on a loss that is not a number."""
