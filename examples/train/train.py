"""Fit a logistic regression by gradient descent. Needs nothing but Python."""

import argparse
import json
import math
import os
import platform
import random
import sys
import time

LEARNING_RATE = 0.05
STEPS = 60
POINTS = 4000


def make_points(seed=7):
    """Return points (x, y, label): two clouds that overlap a little."""
    chance = random.Random(seed)
    points = []
    for index in range(POINTS):
        label = index % 2
        center = 1.0 if label else -1.0
        points.append((chance.gauss(center, 1.0), chance.gauss(center, 1.0) + 2.0, label))
    return points


def predict(weights, x, y):
    """Return the probability of label 1."""
    return 1 / (1 + math.exp(-(weights[0] * x + weights[1] * y + weights[2])))


def measure(weights, points):
    """Return (loss, accuracy)."""
    loss = right = 0.0
    for x, y, label in points:
        guess = predict(weights, x, y)
        loss -= math.log(max(guess if label else 1 - guess, 1e-12))
        right += (guess > 0.5) == bool(label)
    return loss / len(points), right / len(points)


def step(weights, points, rate):
    """Return the weights after one step of length ``rate`` down the gradient."""
    slope = [0.0, 0.0, 0.0]
    for x, y, label in points:
        error = predict(weights, x, y) - label
        slope = [slope[0] + error * x, slope[1] + error * y, slope[2] + error]
    return [weight - rate * part / len(points) for weight, part in zip(weights, slope, strict=True)]


def paint(code, text):
    """Colour text on a terminal."""
    return f"\x1b[{code}m{text}\x1b[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def show(number, steps, loss):
    """Draw the progress: one line that is redrawn on a terminal, a line every so often elsewhere."""
    done = 24 * number // steps
    bar = paint("32", "=" * done) + paint("2", "." * (24 - done))
    line = f"step {number:3d}/{steps}  {bar}  loss {paint('33', f'{loss:.4f}')}"
    if sys.stdout.isatty():
        print(f"\r{line}", end="" if number < steps else "\n", flush=True)
    elif number % 20 == 0 or number == steps:
        print(line, flush=True)


def parse_options():
    """Return the settings of this training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=LEARNING_RATE, help="length of a step")
    parser.add_argument("--steps", type=int, default=STEPS)
    return parser.parse_args()


def main():
    """Train, show how it goes, and keep the result."""
    options = parse_options()
    print(f"training on {platform.node()}, in {os.getcwd()}", flush=True)
    started = time.perf_counter()
    points, weights = make_points(), [0.0, 0.0, 0.0]
    for number in range(1, options.steps + 1):
        weights = step(weights, points, options.lr)
        if number % 5 == 0 or number == options.steps:
            show(number, options.steps, measure(weights, points)[0])
    loss, accuracy = measure(weights, points)
    os.makedirs("runs", exist_ok=True)
    with open("runs/last.json", "w") as file:
        json.dump({"learning_rate": options.lr, "loss": loss, "accuracy": accuracy}, file)
    print(f"accuracy {paint('1', f'{accuracy:.1%}')} after {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
