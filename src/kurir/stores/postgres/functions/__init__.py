"""The functions that carry out the verbs, in the order in which they are made."""
