"""All SQL of genqueue. Each function answers one question and is named after it. No other package writes SQL."""
