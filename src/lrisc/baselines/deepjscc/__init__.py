"""DeepJSCC: one convolutional codec between picture and symbols."""
