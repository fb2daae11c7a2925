"""The character model that one writes in an hour, with torch alone: char_lstm.py FILE SECONDS THREADS

One LSTM of 256 units on 64-number vectors, 32 streams of 64 characters whose state is carried on, Adam at 4e-3,
gradients clipped at 1. After SECONDS of training the held-out tenth is read once. Prints a line of JSON.
"""

import json
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

HIDDEN, EMBEDDING, STREAMS, CHUNK = 256, 64, 32, 64


class CharLSTM(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.embedding = nn.Embedding(classes, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, classes)

    def forward(self, codes, state=None):
        outputs, state = self.lstm(self.embedding(codes), state)
        return self.out(outputs), state


def rows(codes, streams):
    return codes[: len(codes) // streams * streams].reshape(streams, -1)


def main():
    path, seconds, threads = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    text = Path(path).read_text()
    alphabet = {c: i for i, c in enumerate(sorted(set(text)))}
    codes = torch.tensor([alphabet[c] for c in text])
    held = int(len(codes) * 0.1)
    train, validation = rows(codes[:-held], STREAMS), rows(codes[-held:], STREAMS)
    model = CharLSTM(len(alphabet))
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    started, updates, place, state = time.monotonic(), 0, 0, None
    while time.monotonic() - started < seconds:
        if place + CHUNK + 1 > train.shape[1]:
            place, state = 0, None
        x, y = train[:, place : place + CHUNK], train[:, place + 1 : place + CHUNK + 1]
        logits, state = model(x, state)
        state = tuple(part.detach() for part in state)
        loss = functional.cross_entropy(logits.flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        place, updates = place + CHUNK, updates + 1
    took = time.monotonic() - started
    cost, counted, state = 0.0, 0, None
    with torch.no_grad():
        for place in range(0, validation.shape[1] - 1, CHUNK):
            window = validation[:, place : place + CHUNK + 1]
            logits, state = model(window[:, :-1], state)
            cost += float(functional.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten(), reduction="sum"))
            counted += window[:, 1:].numel()
    print(json.dumps({"nats": cost / counted, "updates": updates, "seconds": took}))


main()
