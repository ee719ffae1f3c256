"""`python -m wa_session_host run|migrate`."""

import sys

from wa_session_host.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
