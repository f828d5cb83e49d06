"""What the analyses read: valid result tables, groups, answers and accuracies as arrays, facts about tasks."""
