"""What is wrong with the pictures, before they are trained on."""
