"""The reference pages, rendered from the OpenAPI and AsyncAPI documents."""
