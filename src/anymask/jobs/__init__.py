"""Jobs: everything mode over folders of images, that can be stopped at any moment and gone on with."""
