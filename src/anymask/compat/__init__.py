"""Look-alikes of the official packages, so that scripts written for them run by changing one import."""
