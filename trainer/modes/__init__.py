"""The modes of the command, one file each: what `--mode` tells."""
