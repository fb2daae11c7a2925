"""`python -m apex_ray` is the console script `apex-ray`."""

import sys

from apex_ray.cli import main

sys.exit(main())
