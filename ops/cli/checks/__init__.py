"""What `genqueue doctor` checks: each check tries one thing as it is used, and says what to do if that fails."""
