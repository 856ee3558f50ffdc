"""One answer as a file to send to somebody."""
