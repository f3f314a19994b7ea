"""The names of codes, from the last section of docs/trace-format.md."""
ENDPOINT = """chat_completions completions messages models health metrics tokenize other responses embeddings ollama_generate ollama_chat
    ollama_embed tgi_generate tgi_generate_stream cohere_chat gemini_generate gemini_stream triton_generate triton_generate_stream infer
    grpc_infer grpc_stream_infer realtime detokenize rerank score pooling classify version""".split()
METHOD = "POST GET HEAD PUT DELETE OPTIONS OTHER".split()
SHAPE = "known generic unparsable too_large shed failed".split()
OUTCOME = "completed client_cancelled upstream_refused upstream_reset upstream_timeout rejected truncated in_flight".split()
ROLE = "system user assistant tool other".split()
SOURCE = "usage tokenizer counted estimated".split()
STRUCTURED = "none json_object json_schema grammar".split()
EFFORT = "none minimal low medium high other".split()
MEDIA = "image audio video document".split()
FINISH = "stop length tool_calls content_filter error other".split()
