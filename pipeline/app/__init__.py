"""What the app shows of a slice, as plain functions: answers, pictures seen in training, scores, prompts."""
