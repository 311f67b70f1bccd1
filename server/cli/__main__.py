"""`python -m textgrad_mcp.server.cli`."""

import sys

from .main import main

sys.exit(main())
