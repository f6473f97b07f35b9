"""A Qwen3 small enough to be trained from scratch in a minute, saved as an ordinary model folder.

tokenizer  word level for the arithmetic world, byte-level BPE for any text
muon       the optimiser of the layers' matrices, in float32
gradients  loss and gradients of the model, two threads with half of a batch each
pretrain   build, train for a fixed number of steps, save; everything downstream is `from_pretrained`
"""
