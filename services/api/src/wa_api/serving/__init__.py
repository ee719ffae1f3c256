"""The web server: everything that knows uvicorn or FastAPI from inside."""
