"""Where the bytes of an entry are looked for, in which order, and how they are filled back."""
