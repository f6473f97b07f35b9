"""One client for every LLM call: any OpenAI-compatible endpoint, a reply cache, a managed vLLM server.

errors.py     what a user can mend; secrets taken out of text
settings.py   endpoint and sampling, as frozen dataclasses
request.py    requests and their cache keys, replies, faults, counts
wire.py       JSON bodies and envelopes; what a model turns out not to support
transport.py  one request over the wire, once
client.py     cache, slots, retries, money: LLMClient, ask_all
cache.py      every reply on disk before it is used
prices.py     cost of a call and the stop before a limit
rubric.py     what is judged, and the messages that ask for it
parse.py      scores out of a reply
judge.py      a pool judged: judge_pool -> JudgeTable
transcript.py one judged example for people
agreement.py  how far repeated votes agree
estimate.py   calls, tokens and money beforehand
progress.py   how far a job is, for a bar of the caller's
server.py     a vLLM server that ends with its owner
kept_server.py  one server that outlives an evaluation, for the adapters of a sweep
supervise.py    the process between server and owner
generate.py     texts from a server or from a model in this process
"""
