"""The parts of the page, a file each: every one is given the facts and gives back HTML, or "" where it has nothing."""
