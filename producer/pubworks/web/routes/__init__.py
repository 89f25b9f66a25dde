"""The endpoints, one module for each topic; each is a thin rendering of what the client does."""
