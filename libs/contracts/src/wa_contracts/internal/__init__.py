"""Messages between the services. Event consumers never see them."""
