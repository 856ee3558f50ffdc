"""Which heads read how far, one file a policy: the values of `heads: {use: ...}`."""
