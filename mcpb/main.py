"""What a bundle starts: the server on stdin and stdout."""

import sys

from textgrad_mcp.server.cli.main import main

sys.exit(main())
