"""What a decoding step reads, one file a method: the values of `attention: {use: ...}`."""
