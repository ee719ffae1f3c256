"""`python -m wa_api serve|project|deliver|migrate|rebuild|rotate-key|set-up-broker`."""

import sys

from wa_api.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
