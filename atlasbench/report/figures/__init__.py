"""Records as pictures, for pages and papers: one file a picture, and what pictures share. May import analysis."""
