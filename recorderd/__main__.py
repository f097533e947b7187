"""`python -m recorderd` is `recorderd`."""

import sys

from recorderd.daemon import main

sys.exit(main())
