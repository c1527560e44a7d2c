"""Runs in a pod, with the standard library alone: calls a gateway, once or from many clients until stopped.

ask.py URL MODEL "question"            prints the answer and the headers that name the decision, as JSON
ask.py URL MODEL --clients N --seconds S [--pause P]   prints how many requests were answered whole, half of them
                                                       streamed, each failure, and the longest wait for an answer
"""

# ruff: noqa: S310, T201 - the address is the test's own, and what is printed is the result

import argparse
import json
import sys
import threading
import time
import urllib.request

TIMEOUT_SECONDS = 300


def post(url: str, body: dict) -> tuple[bytes, dict]:
    request = urllib.request.Request(
        f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        return answer.read(), {name.lower(): value for name, value in answer.headers.items()}


def body(model: str, question: str, tokens: int, *, stream: bool = False) -> dict:
    messages = [{"role": "user", "content": question}]
    return {"model": model, "messages": messages, "max_tokens": tokens, "temperature": 0, "stream": stream}


def once(url: str, model: str, question: str) -> None:
    began = time.monotonic()
    content, headers = post(url, body(model, question, 64))
    answer = json.loads(content)
    told = {name: value for name, value in headers.items() if name.startswith("x-pilotfish")}
    text = answer["choices"][0]["message"]["content"]
    print(json.dumps({"seconds": round(time.monotonic() - began, 2), "text": text, "headers": told}))


class Client(threading.Thread):
    """Asks one question after the other; a request counts when its answer is whole."""

    def __init__(self, url: str, model: str, number: int, *, until: float, pause: float) -> None:
        super().__init__()
        self.pause = pause
        self.url, self.model, self.number, self.until = url, model, number, until
        self.whole, self.failures, self.slowest = 0, [], 0.0

    def run(self) -> None:
        asked = 0
        while time.monotonic() < self.until:
            time.sleep(self.pause)
            stream = (asked + self.number) % 2 == 0
            asked += 1
            began = time.monotonic()
            try:
                content, _ = post(self.url, body(self.model, f"Count to {asked % 9 + 2}.", 16, stream=stream))
                ended = content.rstrip().endswith(b"data: [DONE]") if stream else b'"finish_reason"' in content
                if ended:
                    self.whole += 1
                else:
                    self.failures.append(f"half an answer: …{content[-200:]!r}")
            except OSError as error:
                detail = error.read().decode(errors="replace") if hasattr(error, "read") else ""
                self.failures.append(f"{time.strftime('%X')} {type(error).__name__}: {error} {detail}"[:500])
            self.slowest = max(self.slowest, time.monotonic() - began)


def load(url: str, model: str, *, clients: int, seconds: float, pause: float) -> None:
    until = time.monotonic() + seconds
    threads = [Client(url, model, number, until=until, pause=pause) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failures = [failure for thread in threads for failure in thread.failures]
    slowest = round(max(thread.slowest for thread in threads), 1)
    whole = sum(thread.whole for thread in threads)
    print(json.dumps({"whole": whole, "slowest_seconds": slowest, "failures": failures[:20]}))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("question", nargs="?")
    parser.add_argument("--clients", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pause", type=float, default=0, help="seconds that a client waits before each request")
    given = parser.parse_args()
    if given.clients:
        load(given.url, given.model, clients=given.clients, seconds=given.seconds, pause=given.pause)
    else:
        once(given.url, given.model, given.question)
