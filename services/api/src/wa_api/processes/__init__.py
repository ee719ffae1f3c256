"""Composition roots, one module per process.

A process imports only its own module, and therefore only its own dependencies.
"""
