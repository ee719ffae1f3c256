"""The processes of the api: each builds what it needs from the settings and runs until it is told to stop.

A process imports its own module alone, and so nothing that only the others need.
"""
