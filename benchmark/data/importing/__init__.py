"""Import of files of others: what a spec says, its sources and their pixels, brought into one survey folder."""
