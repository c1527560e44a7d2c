"""HTTP/1.1 on asyncio's protocols and llhttp's parser: what a proxy of whole answers and long streams needs, no more.

A request's body is read whole before it is handled, an answer's is taken as it comes. Whoever leaves, or is left,
cancels the other side. Knows nothing of models; imports nothing of the layers but errors.
"""
