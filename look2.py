import json,sys,pandas as pd
t=pd.read_parquet(sys.argv[1]+"/scored.parquet"); by={}
for l in open("/tmp/w/engineer/data/clean.jsonl",encoding="utf-8"):
    r=json.loads(l); by[r["id"]]=r
z=t[(t.language==0)]
for i in z.own_id:
    r=by[i]; m=r["messages"]; print(i, r["meta"].get("flaw"), [x["content"] for x in m if x["role"]=="user"][-1][:100] if True else "", "|", (m[-1]["content"] or "")[:120].replace("\n"," "))
