"""``python -m resilient_client``: the same as the command ``resilient-client``."""

import sys

from resilient_client._cli import main

if __name__ == "__main__":
    sys.exit(main())
