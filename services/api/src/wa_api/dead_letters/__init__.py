"""Dead letters: collected, listed and put back."""
