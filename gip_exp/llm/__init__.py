"""One client for every LLM call: any OpenAI-compatible endpoint, a reply cache, a managed vLLM server.

errors.py       errors the user can fix; redaction of secrets
settings.py     endpoint and sampling, as frozen dataclasses
request.py      requests and their cache keys, replies, faults, counts
wire.py         JSON bodies and envelopes; what a model does not support
transport.py    one request, sent once
client.py       cache, slots, retries, money: LLMClient, ask_all
cache.py        every reply on disk before it is used
prices.py       cost of a call, and stopping before a limit
rubric.py       what is judged, and the messages that ask for it
parse.py        scores from a reply
judge.py        judging a pool: judge_pool -> JudgeTable
transcript.py   one judged example in readable form
agreement.py    agreement of repeated votes
estimate.py     calls, tokens and money beforehand
progress.py     a progress bar
server.py       a vLLM server that ends with its owner
kept_server.py  one server that outlives an evaluation, for the adapters of a sweep
supervise.py    the process between server and owner
generate.py     texts from a server or from a model in this process
"""
