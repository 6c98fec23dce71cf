#!/bin/sh
# Trains the tokenizer and the model, then exports. Debian: python3-torch libopenblas0-openmp
set -e
cd "$(dirname "$0")"
# Sleep at thread barriers: spinning makes a step ten times slower when others use the cores.
export GOMP_SPINCOUNT=0 OMP_WAIT_POLICY=passive
# Keep freed memory: returning it to the kernel costs a quarter of every step.
export MALLOC_MMAP_THRESHOLD_=8589934592 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456
[ -f tokenizer.json ] || /usr/bin/python3 tokenizer.py input.txt tokenizer.json 512
nice -n 10 /usr/bin/python3 train.py "$@"
/usr/bin/python3 export.py bard-3m.pt bard-3m-f16.gguf f16
/usr/bin/python3 export.py bard-3m.pt bard-3m-q8_0.gguf q8_0
