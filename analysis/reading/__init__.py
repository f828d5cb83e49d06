"""What the analyses read: result tables that count, answers and accuracies as arrays, which prompts belong together."""
