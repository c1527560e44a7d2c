"""HTTP/1.1 on asyncio's protocols and llhttp's parser: what asking model servers needs, no more.

An answer is taken as it comes; whoever leaves it cancels it. Knows nothing of models, imports nothing of the layers.
"""
