"""Speech as data: text, phones and when each is said, frames of a recording. For models that speak."""
