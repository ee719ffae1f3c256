"""API keys and the audit log, as the operator manages and reads them."""
