"""An engine without WhatsApp, in the host's own process."""
