"""The one training loop of the self-supervised encoders, and what it needs: order, schedules, states, history."""
