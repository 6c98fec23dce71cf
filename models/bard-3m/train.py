"""Trains bard-3m on the CPU; writes the best checkpoint by validation loss."""
import argparse
import dataclasses
import json
import math
import os
import time

import numpy as np
import torch

from model import Config, Model
from tokenizer import Tokenizer, speeches

p = argparse.ArgumentParser()
p.add_argument("--data", default="input.txt")
p.add_argument("--tokenizer", default="tokenizer.json")
p.add_argument("--out", default="bard-3m.pt")
p.add_argument("--log", default="train-log.jsonl")
p.add_argument("--steps", type=int, default=6000)
p.add_argument("--cpu-minutes", type=float, default=90)
p.add_argument("--wall-minutes", type=float, default=55)
p.add_argument("--eval-steps", type=int, default=100)
p.add_argument("--batch", type=int, default=4)
p.add_argument("--lr", type=float, default=1.5e-3)
p.add_argument("--dropout", type=float, default=0.1)
p.add_argument("--dim", type=int, default=192)
p.add_argument("--layers", type=int, default=6)
p.add_argument("--heads", type=int, default=6)
p.add_argument("--hidden", type=int, default=512)
p.add_argument("--fp32", action="store_true")
p.add_argument("--threads", type=int, default=2)
a = p.parse_args()

torch.manual_seed(1337)
torch.set_num_threads(a.threads)
tok = Tokenizer.load(a.tokenizer)
ids = torch.tensor(tok.encode(speeches(open(a.data).read())), dtype=torch.long)
cut = int(len(ids) * 0.9)
data = {"train": ids[:cut], "val": ids[cut:]}
c = Config(vocab=len(tok.tokens), dim=a.dim, layers=a.layers, heads=a.heads, hidden=a.hidden, dropout=a.dropout)
model = Model(c)
params = sum(q.numel() for q in model.parameters())
decay = [q for q in model.parameters() if q.dim() > 1]
rest = [q for q in model.parameters() if q.dim() < 2]
opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
                        lr=a.lr, betas=(0.9, 0.95))
gen = torch.Generator().manual_seed(1)


def batch(split):
    d = data[split]
    at = torch.randint(len(d) - c.ctx - 1, (a.batch,), generator=gen)
    x = torch.stack([d[i:i + c.ctx + 1] for i in at])
    return x[:, :-1], x[:, 1:]


@torch.no_grad()
def evaluate(split, windows=24):
    """Mean nats a token over fixed, evenly spaced windows."""
    model.eval()
    d = data[split]
    at = np.linspace(0, len(d) - c.ctx - 2, windows).astype(int)
    x = torch.stack([d[i:i + c.ctx + 1] for i in at])
    out = [model(b[:, :-1], b[:, 1:]).item() for b in x.split(8)]
    model.train()
    return sum(out) / len(out)


chars = len(tok.decode(data["val"].tolist()).replace("<|endoftext|>", "\n\n")) / len(data["val"])
print(json.dumps({"parameters": params, "train_tokens": cut, "val_tokens": len(ids) - cut,
                  "val_characters_a_token": round(chars, 3)}), flush=True)
log = open(a.log, "w")
start, step, best = time.time(), 0, 9e9
cpu0 = time.process_time()
while True:
    # The first limit reached ends the run, and the learning rate decays towards it: a busy machine
    # gets fewer steps, not a cut-off schedule.
    wall, cpu = time.time() - start, time.process_time() - cpu0
    done = min(1, max(step / a.steps, cpu / 60 / a.cpu_minutes, wall / 60 / a.wall_minutes))
    if step % a.eval_steps == 0 or done == 1:
        row = {"step": step, "seconds": round(wall), "cpu_seconds": round(cpu),
               "epochs": round(step * a.batch * c.ctx / cut, 2),
               "train": round(evaluate("train"), 4), "val": round(evaluate("val"), 4)}
        row["val_nats_a_character"] = round(row["val"] / chars, 4)
        print(json.dumps(row), flush=True)
        log.write(json.dumps(row) + "\n")
        log.flush()
        if row["val"] < best:
            best = row["val"]
            torch.save({"config": dataclasses.asdict(c), "model": model.state_dict(), "row": row}, a.out + ".new")
            os.replace(a.out + ".new", a.out)
        if done == 1:
            break
    lr = a.lr * min(1, (step + 1) / 100) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))
    for g in opt.param_groups:
        g["lr"] = lr
    x, y = batch("train")
    if a.fp32:
        loss = model(x, y)
    else:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(x, y)
    opt.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    opt.step()
    step += 1
    if step in (5, 20):
        print("step", step, round(loss.item(), 3), "%.2f s" % (time.time() - start), flush=True)
