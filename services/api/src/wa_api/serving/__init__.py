"""The web server: code that depends on internals of uvicorn and FastAPI."""
