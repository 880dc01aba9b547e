"""What a tracker says went wrong, without the secrets that it may quote."""

from __future__ import annotations

import os
import re

from trainer.errors import shown_name

LENGTH = 300
LEAST_SECRET = 6  # characters: shorter ones would cut words apart
SECRET_VARIABLE = re.compile(r"KEY|TOKEN|PASSWORD|SECRET", re.IGNORECASE)
CREDENTIALS = re.compile(r"(?<=://)[^/\s@]*@")  # of a URL: user:password@
HIDDEN = "***"


def shown_reason(error: BaseException) -> str:
    """The first line of what an exception says, cut; what it says of credentials is hidden."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    for variable, value in os.environ.items():
        if SECRET_VARIABLE.search(variable) and len(value) >= LEAST_SECRET:
            text = text.replace(value, HIDDEN)
    return shown_name(without_credentials(text), LENGTH).rstrip(".")


def without_credentials(text: str) -> str:
    """A text whose URLs have no user and password."""
    return CREDENTIALS.sub(f"{HIDDEN}@", text)
