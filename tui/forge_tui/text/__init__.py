"""Markdown as lines on a screen: what is finished is drawn once, however long the text grows."""
