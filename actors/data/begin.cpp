// Sources of this folder follow.
