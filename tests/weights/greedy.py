"""Run as a program: greedy tokens of one model, by transformers, for prompts in its own chat template.

`python greedy.py FOLDER [GGUF]` reads a JSON list of prompts and writes a JSON object: `prompts` and `answers`
are lists of token ids, `tied` says whether input and output embeddings are one matrix, `end` are the ids that end an
answer.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

NEW_TOKENS = 24


def main(folder: Path, gguf: str | None) -> None:
    more = {"gguf_file": gguf} if gguf else {}
    tokenizer = AutoTokenizer.from_pretrained(folder, **more)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **more).eval()
    prompts, answers = [], []
    for text in json.load(sys.stdin):
        chat = [{"role": "user", "content": text}]
        inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            output = model.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS)
        start = inputs["input_ids"].shape[1]
        prompts.append(inputs["input_ids"][0].tolist())
        answers.append(output[0][start:].tolist())
    tied = model.get_input_embeddings().weight.data_ptr() == model.get_output_embeddings().weight.data_ptr()
    end = model.generation_config.eos_token_id
    json.dump({"prompts": prompts, "answers": answers, "tied": tied, "end": end}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
