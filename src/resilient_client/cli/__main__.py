"""``python -m resilient_client.cli``: the same as ``resilient-client``."""

import sys

from resilient_client.cli import main

sys.exit(main())
