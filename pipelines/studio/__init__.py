"""The studio: a page that shows documents, answers, attention and studies, served beside the server's routes."""
