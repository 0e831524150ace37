"""AstroDINO: the network, its losses and masks, its sizes, and the encoder of surveys made of them."""
