"""Whole methods of attention, one file each: the values of `attention: {use: ...}`."""
