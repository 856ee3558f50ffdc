"""What of a prompt is kept once it is read, one file a policy: the values of `evict: {use: ...}`."""
