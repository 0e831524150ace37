"""SpecFormer: the network, its tokens and masks, its sizes, and the encoder of surveys made of them."""
