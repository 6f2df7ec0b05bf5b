"""The page of `diffusion-perception ui`: predictions, features and sets, to play with in a browser.

job         its settings                           predicting  a picture through a trained model, as files
looking     layers and words of a frozen model     browsing    the records of a set
page        all of it as one page, by Gradio, which nothing else here knows of
"""
