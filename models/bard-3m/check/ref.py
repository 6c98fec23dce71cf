"""PyTorch's own answer: token ids and next-token log probabilities at every position, into ref.json.

Run here: python3 ref.py ../bard-3m.pt [f16]   (needs ../input.txt; f16 rounds the matrices as the exporter does)
"""
import json
import sys

import torch

sys.path.insert(0, "..")
from model import Config, Model
from tokenizer import Tokenizer

torch.set_num_threads(1)
ck = torch.load(sys.argv[1])
tok = Tokenizer.load("../tokenizer.json")
model = Model(Config(**ck["config"]))
model.load_state_dict(ck["model"])
model.eval()
if sys.argv[2:] == ["f16"]:
    for p in model.parameters():
        if p.dim() > 1:
            p.data = p.data.half().float()

texts = [
    "ROMEO:\nBut, soft! what light through yonder window breaks?",
    "it's 1234  two  spaces\n\n\tTab, don't we'll I'd — naïve café 日本 🎭 _under_score",
    open("../input.txt").read()[-3000:-2000].split("\n\n", 1)[1],
]
out = []
for text in texts:
    ids = tok.encode(text)
    with torch.no_grad():
        logprobs = torch.log_softmax(model(torch.tensor([[0] + ids]))[0].double(), -1)
    out.append({"text": text, "ids": ids, "logprobs": logprobs.tolist()})
json.dump(out, open("ref.json", "w"))
