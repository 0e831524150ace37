"""Images and spectra of a survey as encoders read them: checked at the border, stretched, binned, kept in memory."""
