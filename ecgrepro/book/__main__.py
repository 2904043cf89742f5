"""`python -m ecgrepro.book TARGET`: what the Makefile calls; settings come as environment variables."""

import os
import sys

from ecgrepro.book.workflow import main

sys.exit(main(sys.argv[1:], os.environ))
