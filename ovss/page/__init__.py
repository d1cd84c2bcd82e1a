"""The web page of `ovss app`: a picture, words, and what CAT-Seg and CLIPtrase make of them.

`server` starts it, `layout` says what is where, `desk` what happens: `intake` reads what users give, `systems` runs the
models, `payload` makes what goes to the browser, where viewer.html, *.js and page.css show it. Gradio is known to the
first three alone; `guard` stands before it.
"""
