"""The language model: decoder, tokenizer, chat format, checkpoint. Imports nothing of training or serving."""
