"""``python -m mtr`` is ``mtr``."""

from mtr.warm import main

raise SystemExit(main())
