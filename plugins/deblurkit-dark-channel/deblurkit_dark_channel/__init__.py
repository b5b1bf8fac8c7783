"""The dark channel prior of Pan, Sun, Pfister and Yang (CVPR 2016), as an image prior for deblurkit."""
