"""How a prompt is read, one file a policy: the values of `prefill: {use: ...}`."""
