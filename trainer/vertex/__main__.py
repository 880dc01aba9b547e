"""The entry: flags -> config -> preflight -> request -> job.

python -m trainer.vertex --config=FILE --project=PROJECT --region=REGION --bucket=gs://BUCKET
--accelerator=NAME[:COUNT] [--dry_run] [--SECTION.KEY=VALUE ...]
"""

from __future__ import annotations

import sys
import time

from trainer.console import standard_streams
from trainer.errors import UserError, shown_message
from trainer.files import mirror
from trainer.settings import flags
from trainer.vertex import command_line


def main(argv: list[str] | None = None) -> int:
    """Submits a job.

    Returns:
        the exit code: 0 done, 2 a mistake or a job that was followed and failed, 141 nobody reads
        what is written any more.
    """
    standard_streams.open_closed()
    now = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    try:
        options, overrides = command_line.parse(sys.argv if argv is None else argv)
        if options is None:
            usage = flags.help_text(command_line.USAGE, command_line.own_flags())
            standard_streams.print_text(usage)
            return 0
        if options.deploy:
            from trainer.vertex.deploy import deploy

            deploy(options, options.deploy, now)
        elif options.config:  # which is asked for where nothing is deployed
            from trainer.vertex.submit import submit

            submit(options, options.config, overrides, now)
    except UserError as error:
        standard_streams.say(f"error: {shown_message(mirror.shown(str(error)))}")
        standard_streams.give_up()
        return 2
    except standard_streams.ReaderGoneError:
        standard_streams.say("stopped: nobody reads what is written any more")
        standard_streams.give_up()
        return standard_streams.READER_GONE_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main())
