"""Times of questions and passages: expressions read as intervals of days, and how well two of them fit."""
