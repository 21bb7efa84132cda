"""python -m npunet: the command line."""

from npunet.cli import main

raise SystemExit(main())
