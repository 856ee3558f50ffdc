"""`fovea bench longcontext`: a real model's own speed and answers with a method of attention, beside full attention.

methods   what is compared: `full`, `near`, `default`, and `attention:` settings
twins     one set of weights, attending in several ways
handing   a prompt is read once with full attention, and handed to every method's cache
drawn     caches filled with keys as the model's own are distributed, without reading
steps     decoding, all methods in turn at each token
tasks     questions with known answers at any length and depth, declared in `tasks/*.yaml`
"""
