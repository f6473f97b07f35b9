"""Client of all LLM calls: any OpenAI-compatible endpoint, a reply cache, a managed vLLM server.

errors        errors the user can fix; shortening texts for messages
settings      endpoint and sampling settings, as frozen dataclasses
request       requests and their cache keys, replies, faults, counts
wire          request bodies, features that a model does not support
connections   HTTP client with bounded answers
transport     one request, sent once
archive       the replies of a cache as one file
batch         the same calls through a provider's batch endpoint (batch_parts, batch_records, batch_api)
client        cache, slots, retries, cost limit: LLMClient, ask_all
cache         replies on disk before they are used
prices        cost of a call and the cost limit
rubric        attributes to grade and the messages that request grades
parse         scores from a reply
judge         grading a pool: judge_pool -> JudgeTable
judge_table   settings, examples and scores of a pool
transcript    one graded example in readable form
agreement     agreement of repeated votes
estimate      calls, tokens and cost before the first call
pace          when a request may be sent, by the provider's limits
faults        what an error response means
envelope      the text and the billed tokens of a reply
job           money and counts that the calls of a job share
progress      progress of a job for a progress bar
server        a vLLM server that ends with this process
server_log    why a server died, from its log
replicas      several addresses that serve the same model
kept_server   a server shared by the evaluations of a sweep
supervise     the process between server and owner
adapters      models and LoRA adapters as vLLM needs them
loopback      access to servers on this machine
generate      texts from a server or a model in this process
"""
