"""What a decoding step reads of the indexed rows, one file a policy: the values of `select: {use: ...}`."""
