"""ImageNet VID, DET and CocoVID: clips to train on, videos to test on."""
