"""Reading what a judge said: scores beside texts and replies, as text and as a page; two judges compared; known flaws."""
